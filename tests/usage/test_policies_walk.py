"""Usage under policies against a walk over every instant of random mixed pools."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from app.usage.kinds import Sharing
from app.usage.policies import under_policies
from app.usage.share_policies import MigSharePolicy, SharePolicy, TimeSlicingPolicy
from tests.usage.companies import FIRST, LIFE, STEP, Company, companies, inside
from tests.usage.dividing import DEFAULT, STATES, Row, held_by


@given(companies())
@settings(max_examples=15, deadline=None)
def test_usage_equals_a_walk_over_every_instant(company: Company) -> None:
    usage = company.usage()

    states, holders, certain = walk(company)

    rows = usage.pool_usage
    parts = usage.hold_segments.groupby("hold_id").size().to_dict()
    for pool in company.pools:
        mine = rows.loc[rows["node_id"] == pool["node_id"]]
        for name in STATES if certain else ("held_ms",):
            # Less than a millisecond a span for held, and for what may be held.
            error = abs(int(mine[name].sum()) - states[pool["node_id"], name])
            assert error <= 2 * len(mine)
    for hold_id, ms in held_by(usage).items():
        assert abs(ms - holders[hold_id]) <= Fraction(3, 2) * parts.get(hold_id, 0)


def walk(
    company: Company,
) -> tuple[dict[tuple[int, str], Fraction], dict[int, Fraction], bool]:
    """Decide every device at every step of time.

    The last result is whether the facts tell everything: where the default policies hold a pool
    whole, they do not say whether anybody looked.
    """
    states = {(pool["node_id"], name): Fraction(0) for pool in company.pools for name in STATES}
    holders = {hold["hold_id"]: Fraction(0) for hold in company.holds}
    certain = True
    for pool in company.pools:
        node, devices = pool["node_id"], Fraction(pool["devices"])
        for at in range(FIRST, FIRST + LIFE, STEP):
            policy = company.policy_at(at)
            present = [one for one in company.holds if one["node_id"] == node and covers(one, at)]
            seen = bool(company.observed.covers(np.array([at]))[0])
            by_default = sum(share_of(one, DEFAULT) for one in present)
            certain &= seen or by_default < devices
            (may,) = [one for one in company.counts if one["node_id"] == node and covers(one, at)]
            kind = "compute" if policy.mig_share is MigSharePolicy.COMPUTE else "allocatable"
            allocatable = Fraction(may[f"{kind}_num"], may[f"{kind}_den"])
            unknown = not seen and by_default < devices
            claims = claims_of(present, policy, devices, devices if unknown else allocatable)
            claimed = sum(claims.values(), Fraction(0))
            held = min(claimed, devices)
            free = Fraction(0) if unknown else max(allocatable - held, Fraction(0))
            states[node, "held_ms"] += STEP * held
            states[node, "unobserved_ms"] += STEP * (devices - held) if unknown else 0
            states[node, "unallocated_ms"] += STEP * free
            states[node, "stranded_ms"] += 0 if unknown else STEP * (devices - held - free)
            for hold_id, claim in claims.items():
                holders[hold_id] += STEP * claim * held / claimed
    return states, holders, certain


def claims_of(
    present: list[Row], policy: SharePolicy, devices: Fraction, may: Fraction
) -> dict[int, Fraction]:
    """Return what each holder claims at one instant."""
    shares = {one["hold_id"]: share_of(one, policy) for one in present}
    units = {
        one["hold_id"]: one["units"]
        for one in present
        if one["sharing"] == Sharing.TIME_SLICING
        and policy.time_slicing is TimeSlicingPolicy.PRESENT
    }
    if not units:
        return shares
    others = sum((share for hold, share in shares.items() if hold not in units), Fraction(0))
    by_slots = sum((shares[hold] for hold in units), Fraction(0))
    room = max(devices - others, Fraction(0))
    left = min(Fraction(max(floor(may - others), 0)), room)
    needed = max(min(Fraction(ceil(by_slots)), room), by_slots)
    in_use = min(Fraction(sum(units.values())), max(left, needed))
    return {
        hold: in_use * units[hold] / sum(units.values()) if hold in units else share
        for hold, share in shares.items()
    }


def share_of(hold: Row, policy: SharePolicy) -> Fraction:
    by = "compute" if policy.mig_share is MigSharePolicy.COMPUTE else "share"
    return Fraction(hold[f"{by}_num"], hold[f"{by}_den"])


def covers(row: Row, at: int) -> bool:
    return row["start_ms"] <= at < row["end_ms"]


@given(companies())
@settings(max_examples=20, deadline=None)
def test_time_is_conserved_in_every_span_and_every_hold(company: Company) -> None:
    facts, usage = company.facts(), company.usage()

    rows, holds = usage.pool_usage, usage.hold_usage
    lengths = rows["end_ms"] - rows["start_ms"]
    assert (rows[list(STATES)].sum(axis=1) == rows["devices"] * lengths).all()
    assert (rows[list(STATES)] >= 0).all(axis=None)
    key = ["node_id", "start_ms"]
    parts = usage.hold_segments.groupby(key)["held_ms"].sum()
    held = rows.set_index(key)["held_ms"]
    assert (parts.reindex(held.index, fill_value=0) == held).all()
    times = ["active_ms", "idle_ms", "unmeasured_ms"]
    assert (holds[times].sum(axis=1) == holds["held_ms"]).all()
    for pool in company.pools:
        pool_rows = rows.loc[rows["node_id"] == pool["node_id"]]
        assert (pool_rows["end_ms"].to_numpy()[:-1] == pool_rows["start_ms"].to_numpy()[1:]).all()
    assert int((rows["devices"] * lengths).sum()) == sum(
        pool["devices"] * LIFE for pool in company.pools
    )
    assert set(held_by(usage)) == set(held_by(facts))


@given(companies(), st.permutations(range(1, 11)))
@settings(max_examples=15, deadline=None)
def test_renaming_the_holders_permutes_what_they_hold(company: Company, names: list[int]) -> None:
    renamed = replace(
        company,
        holds=tuple({**one, "hold_id": names[one["hold_id"] - 1]} for one in company.holds[::-1]),
    )

    before, after = company.usage(), renamed.usage()

    pd.testing.assert_frame_equal(after.pool_usage, before.pool_usage)
    held, parts = held_by(after), before.hold_segments.groupby("hold_id").size().to_dict()
    for hold_id, ms in held_by(before).items():
        # The ties of a split go by identity: a millisecond a span.
        assert abs(held[names[hold_id - 1]] - ms) <= parts.get(hold_id, 0)


@given(companies(), inside)
@settings(max_examples=20, deadline=None)
def test_facts_cut_at_an_instant_give_what_a_policy_that_changes_there_gives(
    company: Company, at: int
) -> None:
    """Before the instant as under the one policy alone, after it as under the other alone."""
    first, second = company.policies[0], replace(company.policies[-1], from_ms=at)
    facts = company.facts()

    both = under_policies(facts, [first, second]).pool_usage
    alone = [under_policies(facts, [replace(one, from_ms=0)]).pool_usage for one in (first, second)]

    for rows, reach in zip(alone, ((FIRST, at), (at, FIRST + LIFE)), strict=True):
        inner = rows.loc[(reach[0] <= rows["start_ms"]) & (rows["end_ms"] <= reach[1])]
        same = both.merge(inner, on=list(both.columns))
        assert len(same) == len(inner)
    # A span that is cut may gain or lose the rounding of each part.
    for pool in company.pools:
        mine = both.loc[both["node_id"] == pool["node_id"]]
        assert set(mine["start_ms"]) <= {at} | {
            start for rows in alone for start in rows["start_ms"]
        }


@given(companies())
@settings(max_examples=15, deadline=None)
def test_an_instant_at_which_no_rule_changes_cuts_nothing(company: Company) -> None:
    again = [
        replace(one, from_ms=from_ms)
        for one, following in pairwise([*company.policies, None])
        for from_ms in (one.from_ms, one.from_ms + 3)
        if following is None or from_ms < following.from_ms
    ]

    first, second = company.usage(), under_policies(company.facts(), again)

    pd.testing.assert_frame_equal(second.pool_usage, first.pool_usage)
    pd.testing.assert_frame_equal(second.hold_usage, first.hold_usage)


def test_the_companies_meet_every_rule() -> None:
    """The properties would say little about companies that no policy changes."""
    seen = {"changed": 0, "cut": 0, "stranded": 0}

    @given(companies())
    @settings(max_examples=100, database=None, deadline=None, derandomize=True)
    def look(company: Company) -> None:
        facts, usage = company.facts(), company.usage()
        seen["changed"] += held_by(facts) != held_by(usage)
        seen["cut"] += len(usage.pool_usage) > len(facts.pool_usage)
        seen["stranded"] += bool((usage.pool_usage["stranded_ms"] > 0).any())

    look()

    assert min(seen.values()) >= 5
