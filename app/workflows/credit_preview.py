"""What an import would change of the credits of some hours' days, without storing anything."""

from collections.abc import Collection
from datetime import tzinfo

from sqlalchemy import Connection

from app.attribution.charges import LineStep
from app.attribution.contract import Contract
from app.attribution.redistribution import billing_days
from app.pricing.inputs import PriceInputs
from app.store.money_lines import MoneyLineStore
from app.store.periods import closed_before_ms
from app.units.window import HOUR_MS
from app.usage.identity import team_id
from app.workflows.allotting import credit_charges


def credits_before_and_after(
    connection: Connection,
    hours: Collection[int],
    inputs: PriceInputs,
    contract: Contract,
    billing_zone: tzinfo,
) -> tuple[dict[int, int], dict[int, int]]:
    """Return by team the nanos of credits as stored on the open days of the hours, and as would be.

    Credits are the same for all hours of a day, so a day counts whole.
    """
    if not hours:
        return {}, {}
    open_ms, wanted = closed_before_ms(connection), {*hours}
    days = [
        day
        for day in billing_days(billing_zone, min(hours), max(hours) + HOUR_MS)
        if day.start_ms >= open_ms
        and any(hour + HOUR_MS > day.start_ms and hour < day.end_ms for hour in wanted)
    ]
    firsts = [day.hours.start_ms for day in days]
    before = MoneyLineStore(connection, billing_zone).by_team(LineStep.CREDIT, firsts)
    after: dict[int, int] = {}
    lines = credit_charges(days, inputs, contract)
    for team, nanos in zip(lines["team_id"].tolist(), lines["cost_nanos"].tolist(), strict=True):
        after[team] = after.get(team, 0) + nanos
    return before, after


def credited_teams(inputs: PriceInputs, contract: Contract) -> dict[int, str]:
    """Return the names of the teams that credits may name."""
    names = {one.team for one in inputs.credits} | {one.team for one in contract.platform}
    return {team_id(name): name for name in sorted(names) if name}
