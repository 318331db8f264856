"""Whatever is priced, committed, metered and decided: every line is that of a walk through time."""

from collections import defaultdict
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from app.attribution.charges import ChargeKind, LineStep
from app.attribution.contract import RatingPolicy
from app.attribution.day_costs import day_costs, summed
from app.attribution.derived_lines import DayFacts, derived_lines
from app.attribution.redistribution import BillingDay, RedistributedLine
from app.pricing.commitments import CommitmentUnit
from app.units.window import HOUR_MS
from app.usage.identity import cluster_id, gpu_model_id, hold_id, namespace_id, node_id, team_id
from tests.attribution.day_rows import NOBODY
from tests.attribution.finance_company import CLUSTERS, Company, Ledger, companies, ledger_of
from tests.attribution.finance_walk import Amount, Line, walk
from tests.attribution.fleets import CLUSTER
from tests.attribution.test_derived_oracle import Told, expected, told

NAMES = ("ads", "lab", "search", "platform", "unowned", "")


@settings(max_examples=10)
@given(companies(committed=False))
def test_every_line_is_that_of_a_walk_within_a_nano_a_split(company: Company) -> None:
    found, account = lines_of(company, ledger_of(company)), walk(company).lines

    assert times(found) == times(account)
    for line, amount in account.items():
        # A segment rounds its cost by half a nano, and its split gives less than one.
        assert abs(found[line].cost - amount.cost) <= 2 * company.borders, line


@settings(max_examples=10)
@given(companies(committed=False, whole=True))
def test_where_nothing_is_rounded_the_walk_is_met_to_the_nano(company: Company) -> None:
    found, account = lines_of(company, ledger_of(company)), walk(company).lines

    assert times(found) == times(account)
    assert {line: one.cost for line, one in found.items() if one.cost} == {
        line: one.cost for line, one in account.items() if one.cost
    }


@settings(max_examples=10)
@given(companies(committed=True))
def test_with_commitments_every_line_is_that_of_a_walk(company: Company) -> None:
    ledger, account = ledger_of(company), walk(company)
    found = lines_of(company, ledger)

    names = {one.price_id: one.commitment for one in company.commitments}
    hours = {names[row.price_id]: row for row in ledger.allotted.hours.itertuples()}
    assert {name: row.cost_nanos for name, row in hours.items()} == account.costs
    off = {name: used_off(company, row) for name, row in hours.items()}
    for name, row in hours.items():
        assert abs(row.used_nanos - account.used[name]) <= off[name], name
    # Covered time is whole milliseconds: each segment's is split for every commitment.
    splits = company.borders * (len(company.commitments) + 2)
    for line in {*found, *account.lines}:
        mine, other = found.get(line, Amount()), account.lines.get(line, Amount())
        assert abs(mine.ms - other.ms) <= splits, line
        dear, more = other.dearest, off.get(line.source, 0)
        if line.source == "variance":
            same = [one for at, one in account.lines.items() if at.node == line.node]
            dear, more = sum(one.dearest for one in same), sum(off.values())
        assert abs(mine.cost - other.cost) <= splits * (2 + dear) + more, line


def used_off(company: Company, hour: NamedTuple) -> Fraction:
    """Return by how much the used part of a commitment's hour may be off: by roundings of its use.

    A commitment alone counts device time, which is whole; those behind others what these left of
    it, in whole milliseconds, and a spend commitment what that costs by the book, in whole nanos.
    """
    (one,) = (one for one in company.commitments if one.price_id == hour.price_id)
    spend = one.unit is CommitmentUnit.SPEND_HOUR
    if len(company.commitments) == 1 and not spend:
        return Fraction(0)
    # A device-millisecond costs at most 100 an hour, twice that with a rate and again a markup.
    use = 112_000 * len(company.commitments) if spend else 1
    return company.borders * (2 + 2 * use * Fraction(hour.cost_nanos, hour.committed))


@settings(max_examples=10)
@given(companies(committed=True))
def test_money_is_the_pools_the_commitments_and_the_energy(company: Company) -> None:
    ledger, account = ledger_of(company), walk(company)
    policies = (replace(one, rating=RatingPolicy.ACTUAL) for one in company.policies)
    actual = replace(company, policies=tuple(policies))
    pools, unused = pd.concat(ledger_of(actual).charges.values()), ledger.unused

    committed = pools["price_id"].isin([one.price_id for one in company.commitments])
    paid = int(pools.loc[committed, "cost_nanos"].sum()) + int(unused["cost_nanos"].sum())
    assert paid == sum(account.costs.values())
    rest = pools[~committed]
    by_part = defaultdict(Fraction)
    for line, amount in walk(actual).lines.items():
        by_part[line.source] += amount.cost
    borders, pool_count = company.borders, sum(len(f.pools) for f in company.fleets.values())
    energy = int(rest.loc[rest["gpu_ms"] == 0, "cost_nanos"].sum())
    assert abs(energy - by_part["energy"]) <= borders * pool_count
    # Who pays by a card changes nothing of what it cost: a nano a segment that the card cuts.
    whole = sum(int(one["cost_nanos"].sum()) for one in ledger.charges.values())
    assert abs(whole - int(pools["cost_nanos"].sum())) <= borders * pool_count * 2
    assert all(one["charge_id"].is_unique for one in ledger.charges.values())


@settings(max_examples=10)
@given(companies(committed=True))
def test_each_step_of_each_day_sums_to_nothing_and_is_a_second_account(company: Company) -> None:
    ledger = ledger_of(company)
    starts = (company.midnight_ms - 24 * HOUR_MS, company.midnight_ms)

    for start in starts:
        day = BillingDay(start_ms=start, end_ms=start + 24 * HOUR_MS)
        lines = derived_lines(facts_of(ledger, day), company.contract)
        per_step: defaultdict[int, int] = defaultdict(int)
        for line in lines:
            per_step[line.step] += line.nanos
        assert not any(per_step.values())
        assert_second_account(company, ledger, day, lines)


@settings(max_examples=10)
@given(companies(committed=True), st.data())
def test_a_change_on_one_node_moves_no_line_of_another_without_a_shared_commitment(
    company: Company, data: st.DataObject
) -> None:
    # Commitments that cover the other cluster alone are shared with nothing of this one.
    own = tuple(replace(one, clusters=("us",)) for one in company.commitments)
    company = replace(company, commitments=own)
    fleet = company.fleets["eu"]
    changed = data.draw(st.sampled_from(fleet.pools))
    pools = (
        replace(one, devices=one.devices + 3) if one is changed else one for one in fleet.pools
    )
    holds = (one for one in fleet.holds if one.node != changed.node)
    other = replace(fleet, pools=tuple(pools), holds=tuple(holds))

    before = ledger_of(company).charges
    after = ledger_of(replace(company, fleets={**company.fleets, "eu": other})).charges

    mine = node_id(CLUSTER, changed.node)
    for cluster in CLUSTERS:
        pd.testing.assert_frame_equal(*(without(one[cluster], mine) for one in (before, after)))


def without(charges: pd.DataFrame, node: int) -> pd.DataFrame:
    return charges[charges["node_id"] != node].sort_values("charge_id").reset_index(drop=True)


def lines_of(company: Company, ledger: Ledger) -> dict[Line, Amount]:
    """Return the product's charges as the walk names them."""
    sources = {one.price_id: one.commitment for one in company.commitments} | {0: "unpriced"}
    teams = {team_id(name): name for name in NAMES}
    nodes = {
        node_id(CLUSTER, pool.node): pool.node
        for fleet in company.fleets.values()
        for pool in fleet.pools
    }
    pods = {
        hold_id(CLUSTER, one.pod, "nvidia.com/gpu"): one.pod
        for fleet in company.fleets.values()
        for one in fleet.holds
    }
    found: dict[Line, Amount] = {}
    for cluster, charges in ledger.charges.items():
        for row in charges.itertuples():
            source = sources.get(row.price_id, "price" if row.gpu_ms else "energy")
            if row.step == LineStep.CARD_VARIANCE:
                source = "variance"
            line = Line(
                cluster=cluster,
                node=nodes[row.node_id],
                subject=pods[row.hold_id] if row.hold_id else "",
                kind=ChargeKind(row.kind).name,
                team=teams[row.team_id],
                second_day=row.start_ms >= company.midnight_ms,
                source=source,
            )
            amount = found.setdefault(line, Amount())
            amount.ms += row.gpu_ms
            amount.cost += row.cost_nanos
    return defaultdict(Amount, found)


def times(lines: dict[Line, Amount]) -> dict[Line, Fraction]:
    return {line: one.ms for line, one in lines.items() if one.ms}


def facts_of(ledger: Ledger, day: BillingDay) -> DayFacts:
    unused = ledger.unused.drop(columns="cluster_id")
    parts = [day_costs(cluster_id(name), one, day, ()) for name, one in ledger.charges.items()]
    return DayFacts(
        day=day,
        costs=summed([*parts, day_costs(0, unused, day, ())]),
        shares=NOBODY,
        clusters={cluster_id(name): name for name in CLUSTERS},
        namespaces={namespace_id(one): one for one in ("monitoring", "search-prod", "ml")},
        teams={team_id(name): name for name in NAMES},
    )


def assert_second_account(
    company: Company, ledger: Ledger, day: BillingDay, lines: tuple[RedistributedLine, ...]
) -> None:
    """Each receiver has its exact part of each cost, told again from the first-hand lines."""
    rows = [row for name, one in ledger.charges.items() for row in told_rows(name, one, day)]
    rows += told_rows("", ledger.unused, day)
    policy_of = {name: company.contract.policies_at(day.start_ms, name) for name in ("", *CLUSTERS)}

    exact, found = expected(rows, policy_of, {}), told(lines)

    assert {key for key, part in exact.items() if part >= 1} <= found.keys() <= exact.keys()
    assert all(abs(exact[key] - nanos) < 1 for key, nanos in found.items())


def told_rows(cluster: str, charges: pd.DataFrame, day: BillingDay) -> list[Told]:
    teams = {team_id(name): name for name in NAMES}
    models = {gpu_model_id(name): name for name in ("H100", "L4")} | {0: ""}
    spaces = {namespace_id(name): name for name in ("monitoring", "search-prod", "ml", "")}
    of_day = (charges["start_ms"] >= day.start_ms) & (charges["start_ms"] < day.end_ms)
    chosen = charges[of_day & (charges["step"] != LineStep.CARD_VARIANCE)]
    return [
        Told(
            team=teams[row.team_id],
            nanos=row.cost_nanos,
            kind=ChargeKind(row.kind).name.lower(),
            cluster=cluster,
            model=models[row.gpu_model_id],
            namespace=spaces[row.namespace_id],
            served=False,
            ms=row.gpu_ms,
        )
        for row in chosen.itertuples()
    ]
