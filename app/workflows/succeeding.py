"""The explanation of a charge, also where a rating put others in its place."""

from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from app.attribution.explanation import Explanation, ExplanationStep
from app.chargeback.tables import amount, plain
from app.store.adjustments import adjustment_by_id, adjustments_of
from app.store.naming import NameStore
from app.store.successors import Successor, successors_of
from app.units.identity import id_text
from app.workflows.explaining_booked import explain_adjustment, posted_steps, statement_steps
from app.workflows.reading import ChargeNotFoundError, explanation

_UTC = ZoneInfo("UTC")


class ChargeGoneError(ChargeNotFoundError):
    """A charge that was replaced, and nothing is about the same any more."""

    def __init__(self, charge_id: int) -> None:
        super().__init__(charge_id)
        self.message = (
            f"The charge {id_text(charge_id)} was taken back when its hour was rated again;"
            " nothing stands in its place."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """An explanation, and whose the charge is; '' is nobody's, or that of several teams.

    ``replaced`` is the identity that was asked for where ``successors`` stand in its place. Of one
    of them the explanation is given, several are listed. ``adjustment`` is it where it is an
    adjustment's.
    """

    team: str
    explanation: Explanation
    replaced: int | None = None
    successors: tuple[int, ...] = ()
    adjustment: int | None = None


def explained(
    connection: Connection, charge_id: int, currency: str, zone: ZoneInfo = _UTC
) -> Explained:
    """Return why a charge is what it is and what was posted to it, or what stands in its place.

    The identity may be an adjustment's as well. ``zone`` is the billing zone. Raises
    `ChargeNotFoundError` where there never was such a charge, `ChargeGoneError` where nothing
    stands in its place.
    """
    posted = adjustments_of(connection, charge_id)
    try:
        team, found = explanation(connection, charge_id, currency, zone)
    except ChargeNotFoundError:
        if not posted:
            return _other(connection, charge_id, currency, zone)
        # The late facts have a line that was no charge when the period was closed.
        team = NameStore(connection).teams().get(posted[0].team_id, "")
        found = Explanation(charge_id, ())
    more = (
        *statement_steps(connection, charge_id, zone),
        *posted_steps(connection, charge_id, posted, currency, zone),
    )
    return Explained(team=team, explanation=replace(found, steps=(*found.steps, *more)))


def _other(connection: Connection, charge_id: int, currency: str, zone: ZoneInfo) -> Explained:
    """Explain what is no charge: an adjustment, or a charge that was replaced."""
    adjustment = adjustment_by_id(connection, charge_id)
    if adjustment is None:
        return _succeeded(connection, charge_id, currency, zone)
    return Explained(
        team=NameStore(connection).teams().get(adjustment.team_id, ""),
        explanation=explain_adjustment(connection, adjustment, currency, zone),
        adjustment=charge_id,
    )


def _succeeded(connection: Connection, charge_id: int, currency: str, zone: ZoneInfo) -> Explained:
    successors = successors_of(connection, charge_id)
    if successors is None:
        raise ChargeNotFoundError(charge_id)
    if not successors:
        raise ChargeGoneError(charge_id)
    step = _step(charge_id, successors, currency)
    teams = {one.team for one in successors}
    found = Explanation(charge_id, (step,))
    if len(successors) == 1:
        of_one = explained(connection, successors[0].charge_id, currency, zone).explanation
        found = replace(of_one, steps=(step, *of_one.steps))
    return Explained(
        team=teams.pop() if len(teams) == 1 else "",
        explanation=found,
        replaced=charge_id,
        successors=tuple(one.charge_id for one in successors),
    )


def _step(charge_id: int, successors: tuple[Successor, ...], currency: str) -> ExplanationStep:
    names = [id_text(one.charge_id) for one in successors]
    spoken = names[0] if len(names) == 1 else f"{len(names)} charges: {', '.join(names)}"
    figures = [("replaced", id_text(charge_id))]
    for one in successors:
        cost = (
            "no price" if one.cost_nanos is None else f"{plain(amount(one.cost_nanos))} {currency}"
        )
        figures.append((f"successor_{id_text(one.charge_id)}", f"{one.team or 'nobody'}, {cost}"))
    return ExplanationStep(
        "Replaced",
        f"The charge {id_text(charge_id)} was replaced when its hour was rated again: by {spoken}.",
        tuple(figures),
    )
