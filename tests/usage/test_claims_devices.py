"""Slices list a GPU and all its partitions; what counts is the silicon, once."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from app.usage.claims_allocated import claimed_devices
from app.usage.claims_devices import list_devices, with_listed
from app.usage.claims_facts import AllocatedDevice, CounterUse, SliceDevice, SliceFacts
from app.usage.inventory import PoolCount
from app.usage.kinds import Sharing
from tests.usage.claiming import (
    H100_MODEL,
    a_claim,
    a_device,
    a_key,
    a_mig_device,
    a_slice,
    amounts,
    given,
)


def of_set(**counters: int) -> tuple[CounterUse, ...]:
    return (CounterUse(counter_set="gpu-0-counters", counters=amounts(**counters)),)


def shares(*slices: SliceFacts, allocated: tuple[AllocatedDevice, ...]) -> list[Fraction]:
    found, notes = claimed_devices(a_claim(allocated=allocated), list_devices(slices))
    assert notes == ()
    return [one.share for one in found]


def test_whole_gpus_count_one_each() -> None:
    listed = list_devices([a_slice(a_device("gpu-0"), a_device("gpu-1"))])

    (count,) = listed.on("node-1")
    assert (count.gpu_model, count.devices, count.allocatable_num) == (H100_MODEL, 2, 2)
    assert listed.on("node-2") == ()


def test_a_gpu_and_its_partitions_are_one_device_that_can_be_held_whole() -> None:
    dynamic = a_slice(
        a_device("gpu-0", consumes=of_set(memory=80, multiprocessors=132)),
        a_mig_device("gpu-0-mig-1", "1g.10gb", consumes=of_set(memory=10, multiprocessors=16)),
        a_mig_device("gpu-0-mig-2", "3g.40gb", consumes=of_set(memory=40, multiprocessors=60)),
        shared_counters=of_set(memory=80, multiprocessors=132),
    )

    (count,) = list_devices([dynamic]).on("node-1")

    assert (count.devices, count.allocatable_num, count.compute_num) == (1, 1, None)


def test_instances_of_a_static_geometry_leave_what_they_do_not_cover() -> None:
    """4g + 1g of an H100: 4/7 and 1/7 of compute, 4/8 and 1/8 of memory."""
    static = a_slice(
        a_mig_device("mig-a", "4g.40gb", parent="GPU-7"),
        a_mig_device("mig-b", "1g.10gb", parent="GPU-7"),
    )

    (count,) = list_devices([static]).on("node-1")

    assert (count.devices, count.allocatable) == (1, Fraction(5, 7))


def test_the_share_of_a_partition_comes_from_its_product_and_profile() -> None:
    static = a_slice(
        a_mig_device("a100", "1g.5gb", parent="GPU-1", product="NVIDIA A100-SXM4-40GB"),
        a_mig_device("a30", "1g.6gb", parent="GPU-2", product="NVIDIA A30"),
        a_mig_device("h100", "3g.40gb", parent="GPU-3"),
    )

    assert shares(static, allocated=given("a100", "a30", "h100")) == [
        Fraction(1, 7),
        Fraction(1, 4),
        Fraction(1, 2),
    ]


def test_without_a_known_profile_the_largest_consumed_counter_tells_the_share() -> None:
    """Numbered counters are one kind: 2 of 8 memory slices, not twice 1 of 1."""
    totals = {f"memory_slice_{number}": 1 for number in range(8)}
    dynamic = a_slice(
        a_device("gpu-0", consumes=of_set(multiprocessors=100, **totals)),
        a_mig_device(
            "part",
            "2x.unheard",
            consumes=of_set(multiprocessors=20, memory_slice_0=1, memory_slice_1=1),
        ),
        shared_counters=of_set(multiprocessors=100, **totals),
    )

    assert shares(dynamic, allocated=given("part")) == [Fraction(1, 4)]


def test_a_partition_of_which_nothing_tells_the_share_holds_nothing_and_is_named() -> None:
    listed = list_devices([a_slice(a_mig_device("part", "9z.unheard", parent="GPU-1"))])

    found, notes = claimed_devices(a_claim(allocated=given("part")), listed)

    assert found == ()
    assert [(note.kind, note.subject, note.quantity) for note in notes] == [
        ("unknown_share", "search/claim-1", 1)
    ]
    (count,) = listed.on("node-1")
    assert (count.devices, count.allocatable_num) == (1, 0)


def test_partitions_that_divide_an_amd_gpu_are_even_parts_of_it() -> None:
    def part(name: str) -> SliceDevice:
        return a_device(
            name,
            attributes={
                "type": "amdgpu-partition",
                "productName": "AMD Instinct MI300X",
                "partitionProfile": "cpx_nps4",
                "resource.kubernetes.io/pciBusID": "0000:19:00.0",
            },
        )

    parts = [part(f"gpu-{number}") for number in range(8)]
    one = a_slice(*parts, driver="gpu.amd.com")

    assert shares(one, allocated=given("gpu-3", driver="gpu.amd.com")) == [Fraction(1, 8)]
    (count,) = list_devices([one]).on("node-1")
    assert (count.gpu_model, count.devices) == ("AMD-Instinct-MI300X", 1)
    assert count.allocatable == Fraction(1)


def test_a_gpu_that_is_partitioned_on_demand_is_consumed_by_partitions() -> None:
    """Each way to divide it is listed as a device, and a counter lets only one of them be used."""
    mutex = (CounterUse(counter_set="gpu-0-mutex", counters=amounts(partition_mode=1)),)

    def way(name: str, kind: str, partitions: int) -> SliceDevice:
        return a_device(
            name,
            attributes={"type": kind, "productName": "AMD Instinct MI300X"},
            capacity=amounts(partitions=partitions),
            consumes=mutex,
            allow_multiple=True,
        )

    one = a_slice(
        way("gpu-0-spx-nps1", "amdgpu", 1),
        way("gpu-0-cpx-nps4", "amdgpu-partition", 8),
        driver="gpu.amd.com",
        shared_counters=mutex,
    )
    (result,) = given("gpu-0-cpx-nps4", driver="gpu.amd.com")
    taken = replace(result, share_id="s-1", consumed=amounts(partitions=1))

    assert shares(one, allocated=(taken,)) == [Fraction(1, 8)]
    (count,) = list_devices([one]).on("node-1")
    assert (count.devices, count.allocatable_num) == (1, 1)


def test_equal_addresses_on_two_nodes_of_a_pool_are_two_devices() -> None:
    def gpu(name: str, node: str) -> SliceDevice:
        told = {"type": "amdgpu", "resource.kubernetes.io/pciBusID": "0000:03:00.0"}
        return a_device(name, attributes=told, node_name=node)

    pool = a_slice(
        gpu("a", "node-1"),
        gpu("b", "node-2"),
        driver="gpu.amd.com",
        node_name="",
    )

    listed = list_devices([pool])

    assert [listed.on(node)[0].devices for node in ("node-1", "node-2")] == [1, 1]
    assert len({device.physical for device in listed.devices.values()}) == 2


def test_what_is_consumed_of_a_device_is_its_share() -> None:
    device = a_device(allow_multiple=True, capacity=amounts(memory=80, cores=100))
    taken = replace(given("gpu-0")[0], share_id="s-1", consumed=amounts(memory=20, cores=50))
    whole = replace(given("gpu-0")[0], share_id="s-2")
    listed = list_devices([a_slice(device)])

    found, _ = claimed_devices(a_claim(allocated=(taken, whole)), listed)

    assert [(one.share, one.sharing) for one in found] == [
        (Fraction(1, 2), Sharing.FRACTION),
        (Fraction(1), Sharing.FRACTION),
    ]
    assert {one.physical for one in found} == {"gpu.nvidia.com/node-1/uuid:GPU-gpu-0"}


def test_the_same_device_is_held_once_and_access_for_administrators_holds_nothing() -> None:
    (one,) = given("gpu-0")
    watched = replace(given("gpu-1")[0], admin_access=True)

    assert shares(a_slice(a_device("gpu-0"), a_device("gpu-1")), allocated=(one, one, watched)) == [
        Fraction(1)
    ]


def test_only_the_newest_generation_of_a_pool_counts_and_each_device_once() -> None:
    slices = [
        a_slice(a_device("gpu-0"), a_device("gpu-1"), name="old", generation=1),
        a_slice(a_device("gpu-0"), name="new", generation=2),
        a_slice(a_device("gpu-0"), name="twice", generation=2),
    ]

    (count,) = list_devices(slices).on("node-1")

    assert count.devices == 1


def test_a_tainted_device_is_there_but_cannot_be_held() -> None:
    (count,) = list_devices([a_slice(a_device("gpu-0", tainted=True), a_device("gpu-1"))]).on(
        "node-1"
    )

    assert (count.devices, count.allocatable_num) == (2, 1)


def test_network_cards_hold_nothing_and_unknown_drivers_are_named() -> None:
    listed = list_devices(
        [
            a_slice(a_device("nic-0"), driver="dra.net", name="net"),
            a_slice(a_device("x-0"), driver="gpu.example.com", name="example"),
        ]
    )
    allocated = (*given("nic-0", driver="dra.net"), *given("x-0", driver="gpu.example.com"))

    found, notes = claimed_devices(a_claim(allocated=allocated), listed)

    assert found == ()
    assert listed.on("node-1") == ()
    assert [note.subject for note in listed.notes] == ["gpu.example.com/node-1"]
    assert [(note.kind, note.quantity) for note in notes] == [("unknown_device_driver", 1)]


def test_a_device_that_is_no_gpu_beside_gpus_holds_nothing() -> None:
    channel = a_device("channel-0", attributes={"type": "channel"})
    slices = a_slice(channel, a_device("gpu-0"))

    assert shares(slices, allocated=given("channel-0", "gpu-0")) == [Fraction(1)]


def test_a_claim_without_a_slice_holds_what_it_names_on_its_node() -> None:
    found, notes = claimed_devices(a_claim(allocated=given("gpu-0", "gpu-9")), list_devices([]))

    assert [(one.share, one.model, one.node_name) for one in found] == [
        (Fraction(1), "unknown", "node-1")
    ] * 2
    assert [(note.kind, note.quantity) for note in notes] == [("claim_without_slice", 2)]


def test_tpus_of_a_pool_that_spans_hosts_are_counted_on_each_host_once() -> None:
    def tpu(name: str, chips: int, node: str, **counters: int) -> SliceDevice:
        use = (CounterUse(counter_set="tpus", counters=amounts(**counters)),)
        device = a_device(name, attributes={}, capacity=amounts(tpus=chips), consumes=use)
        return replace(device, node_name=node)

    pool = a_slice(
        tpu("tpu-2x4", 8, "", tpus_node_1=4, tpus_node_2=4),
        tpu("tpu-2x2-1", 4, "node-1", tpus_node_1=4),
        tpu("tpu-1x1-1", 1, "node-1", tpus_node_1=1),
        tpu("tpu-2x2-2", 4, "node-2", tpus_node_2=4),
        driver="tpu.google.com",
        pool="pod-slice",
        node_name="",
    )
    listed = list_devices([pool])

    assert [listed.on(node)[0].devices for node in ("node-1", "node-2")] == [4, 4]
    taken = given("tpu-2x4", driver="tpu.google.com", pool="pod-slice")
    assert shares(pool, allocated=taken) == [Fraction(8)]


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ([], [(H100_MODEL, 2, 2)]),
        # The plugin counts the same devices, or one that the slices lack.
        ([PoolCount(gpu_model=H100_MODEL, devices=2, allocatable_num=2)], [(H100_MODEL, 2, 2)]),
        ([PoolCount(gpu_model=H100_MODEL, devices=8, allocatable_num=0)], [(H100_MODEL, 8, 2)]),
        ([PoolCount(gpu_model="unknown", devices=3, allocatable_num=0)], [(H100_MODEL, 3, 2)]),
        (
            [PoolCount(gpu_model="NVIDIA-L4", devices=1, allocatable_num=1)],
            [(H100_MODEL, 2, 2), ("NVIDIA-L4", 1, 1)],
        ),
    ],
)
def test_devices_that_the_node_and_its_slices_count_are_counted_once(
    own: list[PoolCount], expected: list[tuple[str, int, int]]
) -> None:
    listed = list_devices([a_slice(a_device("gpu-0"), a_device("gpu-1"))]).on("node-1")

    counts = with_listed(own, listed)

    found = [(count.gpu_model, count.devices, count.allocatable_num) for count in counts]
    assert found == expected


@pytest.mark.parametrize(
    ("label", "models"),
    [
        ("nvidia-h100-80gb", [H100_MODEL]),
        ("NVIDIA-H100-NVL", [H100_MODEL]),
        # Another socket of the same name is no chip.
        ("NVIDIA-A100-SXM4-40GB", ["NVIDIA-A100-SXM4-40GB", H100_MODEL]),
        ("Tesla-T4", [H100_MODEL, "Tesla-T4"]),
    ],
)
def test_a_cloud_may_call_the_listed_devices_otherwise(label: str, models: list[str]) -> None:
    own = [PoolCount(gpu_model=label, devices=2, allocatable_num=0)]
    listed = list_devices([a_slice(a_device("gpu-0"), a_device("gpu-1"))]).on("node-1")

    assert [(one.gpu_model, one.devices) for one in with_listed(own, listed)] == [
        (model, 2) for model in models
    ]


def test_devices_of_a_machine_are_those_of_all_models_that_slices_list() -> None:
    own = [PoolCount(gpu_model="unknown", devices=2, allocatable_num=0)]
    listed = [
        PoolCount(gpu_model=model, devices=1, allocatable_num=1)
        for model in ("NVIDIA-L4", H100_MODEL)
    ]

    counts = with_listed(own, listed)

    assert sorted(one.gpu_model for one in counts) == sorted(["NVIDIA-L4", H100_MODEL])


@drawn(
    parts=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), min_size=1, max_size=12
    )
)
def test_devices_that_share_any_name_of_the_silicon_are_one(
    parts: list[tuple[int, int, bool]],
) -> None:
    """Each device names its parent, its counters or both; a search in the graph finds the same."""
    devices = [
        a_mig_device(
            f"d-{number}",
            "1g.10gb",
            parent=f"GPU-{parent}" if named else "",
            consumes=(CounterUse(counter_set=f"set-{counters}", counters=amounts(memory=1)),),
        )
        for number, (parent, counters, named) in enumerate(parts)
    ]
    listed = list_devices([a_slice(*devices)])

    groups: list[set[str]] = []
    for parent, counters, named in parts:
        names = {f"s{counters}", *([f"p{parent}"] if named else [])}
        touching = [group for group in groups if group & names]
        groups = [group for group in groups if not group & names]
        groups.append(names.union(*touching))
    (count,) = listed.on("node-1")
    assert count.devices == len(groups)
    for number, (_, counters, _) in enumerate(parts):
        mates = {
            other
            for other, (_, theirs, _) in enumerate(parts)
            if any(f"s{counters}" in group and f"s{theirs}" in group for group in groups)
        }
        places = {listed.devices[a_key(f"d-{mate}")].physical for mate in mates | {number}}
        assert len(places) == 1
