from dataclasses import replace
from fractions import Fraction

import pandas as pd
import pytest

from app.usage.holds import holds_of, pool_counts_of
from app.usage.inventory import ContainerFacts
from app.usage.kinds import Sharing
from app.usage.policies import DividedUsage, under_policies
from tests.usage.builders import ALWAYS, HOUR, MINUTE, T0, a_node, a_pod, a_pool, spans
from tests.usage.dividing import (
    COMPUTE,
    DEFAULT,
    PRESENT,
    Row,
    a_share,
    an_instance,
    by_pool,
    facts_of,
    held_by,
    slots,
    states_in,
    what_may_be_held,
)

HALF_PAST = T0 + 30 * MINUTE
HALF = Fraction(1, 2)
THREE_SEVENTHS = Fraction(3, 7)


def sliced(*holds: Row, devices: int = 1, may: Fraction | int | None = None) -> DividedUsage:
    """Facts of a node whose devices have slots."""
    return facts_of(
        *holds,
        pools=[a_pool(devices=devices)],
        counts=[what_may_be_held(default=devices if may is None else may)],
    )


def a100_with_two_3g(*holds: Row) -> DividedUsage:
    """Facts of one A100 with two instances of 3g.20gb: half its memory each, 3 of 7 slices."""
    return facts_of(
        *holds,
        pools=[a_pool(devices=1)],
        counts=[what_may_be_held(default=1, compute=Fraction(6, 7))],
    )


def a_3g(hold_id: int, **given: object) -> Row:
    return an_instance(hold_id, HALF, THREE_SEVENTHS, **given)


@pytest.mark.parametrize(
    ("holders", "by_slots", "by_presence"),
    [
        (1, {"held": HOUR // 4, "unallocated": HOUR * 3 // 4}, HOUR),
        (2, {"held": HOUR // 2, "unallocated": HOUR // 2}, HOUR // 2),
        (3, {"held": HOUR * 3 // 4, "unallocated": HOUR // 4}, HOUR // 3),
        (4, {"held": HOUR}, HOUR // 4),
    ],
)
def test_of_one_gpu_with_four_slots_those_present_hold_all(
    holders: int, by_slots: dict[str, int], by_presence: int
) -> None:
    facts = sliced(*(slots(one) for one in range(holders)))

    usage = under_policies(facts, [PRESENT])

    assert states_in(facts) == by_slots
    assert states_in(usage) == {"held": HOUR}
    assert held_by(usage) == dict.fromkeys(range(holders), by_presence)


def test_of_two_gpus_one_slot_holds_one_and_three_slots_share_both() -> None:
    one = under_policies(sliced(slots(1), devices=2), [PRESENT])
    three = under_policies(sliced(slots(1), slots(2, held=2), devices=2), [PRESENT])

    assert states_in(one) == {"held": HOUR, "unallocated": HOUR}
    assert states_in(three) == {"held": 2 * HOUR}
    # Slots weigh, not pods: one of three slots of two devices, and two of three.
    assert held_by(three) == {1: 2 * HOUR // 3, 2: 4 * HOUR // 3}


def test_presence_is_judged_at_each_instant() -> None:
    facts = sliced(slots(1), slots(2, start_ms=HALF_PAST))

    usage = under_policies(facts, [PRESENT])

    assert held_by(usage) == {1: HOUR * 3 // 4, 2: HOUR // 4}
    assert usage.pool_usage["held_ms"].tolist() == [HOUR // 2, HOUR // 2]


def test_mps_enforces_its_part_and_stays_by_slots() -> None:
    facts = sliced(slots(1, sharing=Sharing.MPS))

    assert under_policies(facts, [PRESENT]) is facts


def test_a_device_that_is_lost_is_not_in_use_by_the_slots_of_another() -> None:
    facts = sliced(slots(1), slots(2), devices=2, may=1)

    usage = under_policies(facts, [PRESENT])

    assert states_in(usage) == {"held": HOUR, "stranded": HOUR}


def test_slots_that_nobody_advertises_hold_the_devices_that_they_need() -> None:
    two_devices_of_slots = [slots(one) for one in range(5)]

    usage = under_policies(sliced(*two_devices_of_slots, devices=3, may=0), [PRESENT])

    assert states_in(usage) == {"held": 2 * HOUR, "stranded": HOUR}


def test_slots_use_what_others_leave() -> None:
    whole = a_share(1, share=Fraction(1))

    usage = under_policies(sliced(whole, slots(2), slots(3), devices=2), [PRESENT])

    assert held_by(usage) == {1: HOUR, 2: HOUR // 2, 3: HOUR // 2}


def test_slots_beside_a_fraction_of_the_same_device_use_the_rest_of_it() -> None:
    fraction = a_share(1, share=HALF, sharing=Sharing.FRACTION)

    usage = under_policies(sliced(fraction, slots(2)), [PRESENT])

    assert held_by(usage) == {1: HOUR // 2, 2: HOUR // 2}


def test_a_millisecond_of_rounding_costs_the_slots_no_device() -> None:
    """Two of three devices are left: 20/7 can be held, and instances hold 6/7 of the third."""
    at = HALF_PAST + 3
    instances = a_share(1, share=Fraction(6, 7), sharing=Sharing.MIG)
    facts = sliced(instances, slots(2), slots(3), devices=3, may=Fraction(20, 7))

    usage = under_policies(facts, [DEFAULT, replace(PRESENT, from_ms=at)])

    (_, after) = usage.pool_usage["held_ms"]
    assert after == round(Fraction(20, 7) * (T0 + HOUR - at))


def test_slots_oversubscribed_are_scaled_as_they_are_by_default() -> None:
    facts = sliced(*(slots(one) for one in range(6)))

    usage = under_policies(facts, [PRESENT])

    assert states_in(usage) == states_in(facts) == {"held": HOUR}
    assert held_by(usage) == held_by(facts)


def test_where_nobody_observed_slots_hold_what_they_would_and_the_rest_is_unobserved() -> None:
    facts = facts_of(
        slots(1),
        slots(2),
        pools=[a_pool(devices=3)],
        counts=[what_may_be_held(default=3)],
        observed=spans((T0, HALF_PAST)),
    )

    usage = under_policies(facts, [PRESENT])

    assert states_in(usage) == {
        "held": 2 * HOUR,
        "unobserved": HOUR // 2,
        "unallocated": HOUR // 2,
    }


def test_two_3g_instances_leave_a_seventh_stranded_by_compute_and_nothing_by_the_larger() -> None:
    facts = a100_with_two_3g(a_3g(1), a_3g(2))

    usage = under_policies(facts, [COMPUTE])

    seventh = round(HOUR / 7)
    assert states_in(facts) == {"held": HOUR}
    assert states_in(usage) == {"held": HOUR - seventh, "stranded": seventh}
    assert sorted(held_by(usage).values()) == [(HOUR - seventh) // 2, (HOUR - seventh + 1) // 2]


def test_a_free_instance_is_unallocated_by_its_compute_slices() -> None:
    usage = under_policies(a100_with_two_3g(a_3g(1)), [COMPUTE])

    held = round(HOUR * 3 / 7)
    stranded = HOUR - round(HOUR * 6 / 7)
    assert states_in(usage) == {
        "held": held,
        "stranded": stranded,
        "unallocated": HOUR - held - stranded,
    }


def test_an_empty_device_is_divided_by_compute_too() -> None:
    usage = under_policies(a100_with_two_3g(), [COMPUTE])

    assert states_in(usage) == {
        "unallocated": round(HOUR * 6 / 7),
        "stranded": HOUR - round(HOUR * 6 / 7),
    }


def test_normalized_instances_have_their_own_slices_by_compute() -> None:
    """4g and 3g of an A100 are 4/7 and 1/2: 15/14 of the device, normalized to 8/15 and 7/15."""
    facts = facts_of(
        an_instance(1, Fraction(8, 15), Fraction(4, 7)),
        an_instance(2, Fraction(7, 15), THREE_SEVENTHS),
        pools=[a_pool(devices=1)],
        counts=[what_may_be_held(default=1)],
    )

    assert held_by(facts) == {1: HOUR * 8 // 15, 2: HOUR * 7 // 15}
    assert held_by(under_policies(facts, [COMPUTE])) == {
        1: round(HOUR * 4 / 7),
        2: round(HOUR * 3 / 7),
    }


def test_what_a_hold_did_keeps_its_proportions() -> None:
    facts = sliced(slots(1))

    usage = under_policies(facts, [PRESENT])

    times = ["active_ms", "idle_ms", "unmeasured_ms"]
    assert facts.hold_usage[times].to_numpy().tolist() == [[HOUR // 12] * 3]
    assert usage.hold_usage[times].to_numpy().tolist() == [[HOUR // 3] * 3]


def test_a_policy_counts_from_its_instant_on() -> None:
    """A quarter for half an hour by slots, the whole device for the other half."""
    facts = sliced(slots(1))

    usage = under_policies(facts, [DEFAULT, replace(PRESENT, from_ms=HALF_PAST)])
    ended = under_policies(facts, [PRESENT, replace(DEFAULT, from_ms=HALF_PAST)])

    assert usage.pool_usage["start_ms"].tolist() == [T0, HALF_PAST]
    assert usage.pool_usage["held_ms"].tolist() == [HOUR // 8, HOUR // 2]
    assert ended.pool_usage["held_ms"].tolist() == [HOUR // 2, HOUR // 8]
    assert held_by(usage) == held_by(ended) == {1: HOUR * 5 // 8}


def test_policies_on_both_sides_of_the_window_count_as_one_each() -> None:
    facts = sliced(slots(1))
    later, earlier = replace(PRESENT, from_ms=T0 + HOUR), replace(PRESENT, from_ms=T0 - HOUR)

    assert under_policies(facts, [DEFAULT, later]) is facts
    assert states_in(under_policies(facts, [DEFAULT, earlier, later])) == {"held": HOUR}


@pytest.mark.parametrize("policies", [(), (DEFAULT,), (DEFAULT, replace(DEFAULT, from_ms=T0 + 1))])
def test_by_default_the_facts_come_back_themselves(policies: tuple[object, ...]) -> None:
    facts = a100_with_two_3g(a_3g(1))

    assert under_policies(facts, policies) is facts


def test_pools_that_a_policy_does_not_concern_keep_their_rows() -> None:
    facts = facts_of(
        slots(1),
        a_3g(2, node_id=2),
        a_share(3, share=Fraction(1, 3), sharing=Sharing.FRACTION, node_id=3),
        pools=[a_pool(node, devices=1) for node in (1, 2, 3)],
        counts=[
            what_may_be_held(1, default=1),
            what_may_be_held(2, default=1, compute=Fraction(6, 7)),
            what_may_be_held(3, default=1),
        ],
    )
    at = T0 + 12_345

    usage = under_policies(facts, [replace(PRESENT, from_ms=at)])

    before, after = by_pool(facts), by_pool(usage)
    assert len(after[1]) == 2
    for node in (2, 3):
        pd.testing.assert_frame_equal(after[node], before[node])
    held = held_by(facts)
    assert {key: ms for key, ms in held_by(usage).items() if key != 1} == {2: held[2], 3: held[3]}


def test_nothing_collected_stays_nothing() -> None:
    facts = facts_of(pools=[], counts=[], observed=ALWAYS)

    assert under_policies(facts, [PRESENT]) is facts


A100 = "NVIDIA-A100-SXM4-40GB"


def facts_of_node(resources: dict[str, int], labels: dict[str, str]) -> DividedUsage:
    """Facts of one A100 as its node describes it, every unit of it held by a pod of its own."""
    node = a_node(
        labels=tuple(
            {"nvidia.com/gpu.product": A100, "nvidia.com/gpu.count": "1", **labels}.items()
        ),
        capacity=tuple(resources.items()),
    )
    (count,), _ = pool_counts_of(node)
    each = [resource for resource, units in resources.items() for _ in range(units)]
    rows = []
    for number, resource in enumerate(each):
        container = ContainerFacts(
            name="main", kind="app", requests=((resource, 1),), finished_ms=None
        )
        (hold,), _ = holds_of(a_pod(containers=(container,)), node)
        rows.append(
            a_share(
                number,
                share=Fraction(hold.share_num, hold.share_den),
                compute=Fraction(*hold.compute_share),
                sharing=hold.sharing,
                units=hold.units,
            )
        )
    return facts_of(
        *rows,
        pools=[a_pool(devices=count.devices)],
        counts=[what_may_be_held(default=count.allocatable, compute=count.compute_allocatable)],
    )


MIXED = {"nvidia.com/mig.strategy": "mixed"}


@pytest.mark.parametrize(
    ("resources", "by_default", "by_compute"),
    [
        ({"nvidia.com/mig-3g.20gb": 2}, [HALF, HALF], [THREE_SEVENTHS, THREE_SEVENTHS]),
        (
            {"nvidia.com/mig-4g.20gb": 1, "nvidia.com/mig-3g.20gb": 1},
            [Fraction(8, 15), Fraction(7, 15)],
            [Fraction(4, 7), THREE_SEVENTHS],
        ),
        (
            {"nvidia.com/mig-2g.10gb": 3, "nvidia.com/mig-1g.5gb": 1},
            [*[Fraction(2, 7)] * 3, Fraction(1, 7)],
            [*[Fraction(2, 7)] * 3, Fraction(1, 7)],
        ),
    ],
)
def test_a_node_says_what_both_policies_need(
    resources: dict[str, int], by_default: list[Fraction], by_compute: list[Fraction]
) -> None:
    facts = facts_of_node(resources, MIXED)

    usage = under_policies(facts, [COMPUTE])

    for found, shares in ((facts, by_default), (usage, by_compute)):
        held = list(held_by(found).values())
        assert held == pytest.approx([float(share * HOUR) for share in shares], abs=1)
        stranded = HOUR - round(sum(shares) * HOUR)
        assert states_in(found) == {
            name: ms for name, ms in (("held", HOUR - stranded), ("stranded", stranded)) if ms
        }
