"""What exporters show of shared devices, mode by mode."""

from collections import defaultdict
from itertools import combinations

import pytest

from app.simulator.exposition import Exposition
from app.simulator.fleet import Fleet
from app.simulator.modes import SHARED_MODES, Mode
from tests.simulator.mixed import mixed_fleet
from tests.simulator.small import small_fleet

ENGINE, UTIL = "DCGM_FI_PROF_GR_ENGINE_ACTIVE", "DCGM_FI_DEV_GPU_UTIL"
POWER, ENERGY = "DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return mixed_fleet(seed=5, honor_labels=False)


@pytest.fixture(scope="module")
def exposition(fleet: Fleet) -> Exposition:
    return Exposition(fleet)


def samples(
    exposition: Exposition, family: str, fleet: Fleet, mode: Mode
) -> list[tuple[dict[str, str], dict[int, float]]]:
    """Return the series of one mode's nodes, each with its samples."""
    uuids = {uuid for node in fleet.nodes if node.mode is mode for uuid in node.uuids}
    uuids |= {uuid.removeprefix("GPU-") for uuid in uuids}
    found = []
    for one in exposition.family(family):
        labels = dict(one.labels)
        device = labels.get("UUID") or labels.get("gpu_uuid") or labels.get("uuid")
        if device in uuids:
            found.append((labels, dict(zip(one.at_ms.tolist(), one.value.tolist(), strict=True))))
    assert found
    return found


def test_no_two_series_of_a_family_have_the_same_labels(exposition: Exposition) -> None:
    for name in exposition.names():
        labels = [one.labels for one in exposition.family(name)]
        assert len(set(labels)) == len(labels), name


def test_a_plain_fleet_has_no_more_families_than_it_needs() -> None:
    names = Exposition(small_fleet()).names()

    assert not {"gpu_gfx_activity", "xpum_power_watts", "kube_pod_annotations"} & set(names)


@pytest.mark.parametrize("mode", [Mode.MIG_SINGLE, Mode.MIG_MIXED])
def test_instances_have_no_utilization_and_repeat_their_device_s_power(
    fleet: Fleet, exposition: Exposition, mode: Mode
) -> None:
    for labels, _ in samples(exposition, ENGINE, fleet, mode):
        assert {"GPU_I_PROFILE", "GPU_I_ID"} <= set(labels)
    uuids = {uuid for node in fleet.nodes if node.mode is mode for uuid in node.uuids}
    assert not [one for one in exposition.family(UTIL) if dict(one.labels)["UUID"] in uuids]
    for family in (POWER, ENERGY):
        seen = defaultdict(set)
        repeated = 0
        for labels, values in samples(exposition, family, fleet, mode):
            for at_ms, value in values.items():
                repeated += (labels["UUID"], at_ms) in seen
                seen[labels["UUID"], at_ms].add(value)
        assert repeated
        assert {len(values) for values in seen.values()} == {1}


def test_a_sliced_device_is_one_series_whose_pod_is_another_at_every_scrape(
    fleet: Fleet, exposition: Exposition
) -> None:
    pods = defaultdict(dict)
    for labels, values in samples(exposition, ENGINE, fleet, Mode.TIME_SLICING):
        for at_ms in values:
            assert at_ms not in pods[labels["UUID"]]
            pods[labels["UUID"]][at_ms] = labels.get("exported_pod", "")

    assert any(len(set(names.values()) - {""}) > 1 for names in pods.values())


def test_with_virtual_gpus_every_sharer_has_a_copy_of_the_device_s_value() -> None:
    fleet = mixed_fleet(seed=5, modes=(Mode.TIME_SLICING, Mode.MPS), virtual_gpus=True)
    exposition = Exposition(fleet)
    shared = 0
    for mode in (Mode.TIME_SLICING, Mode.MPS):
        by_device = defaultdict(list)
        for labels, values in samples(exposition, ENGINE, fleet, mode):
            by_device[labels["UUID"]].append((labels, values))
        for copies in by_device.values():
            for (one, mine), (other, its) in combinations(copies, 2):
                both = set(mine) & set(its)
                assert all(mine[at_ms] == its[at_ms] for at_ms in both)
                assert not both or one["vgpu"] != other["vgpu"]
                shared += len(both)
    assert shared


@pytest.mark.parametrize("mode", [Mode.TIME_SLICING_RENAMED, Mode.HAMI, Mode.VGPU])
def test_of_other_resources_the_exporter_knows_no_pod(
    fleet: Fleet, exposition: Exposition, mode: Mode
) -> None:
    for labels, _ in samples(exposition, ENGINE, fleet, mode):
        assert "exported_pod" not in labels


def test_a_reserved_device_is_shown_under_the_pod_that_reserves_it(
    fleet: Fleet, exposition: Exposition
) -> None:
    spaces = {
        labels.get("exported_namespace", "")
        for labels, _ in samples(exposition, ENGINE, fleet, Mode.KAI)
    }

    assert "kai-resource-reservation" in spaces


def test_other_vendors_say_percents_and_ratios(fleet: Fleet, exposition: Exposition) -> None:
    for labels, values in samples(exposition, "gpu_gfx_activity", fleet, Mode.AMD):
        assert labels["gpu_compute_partition_type"] == "spx"
        assert all(value == round(value) and 0 <= value <= 100 for value in values.values())
    partitions = samples(exposition, "gpu_gfx_busy_instantaneous", fleet, Mode.AMD_CPX)
    assert any("exported_pod" in labels for labels, _ in partitions)
    for _, values in samples(exposition, "xpum_engine_group_ratio", fleet, Mode.INTEL):
        assert all(0 <= value <= 1 for value in values.values())


def test_the_names_of_resources_are_mangled_and_only_those_of_the_node(
    exposition: Exposition,
) -> None:
    shown = defaultdict(set)
    for one in exposition.family("kube_node_status_capacity"):
        labels = dict(one.labels)
        if labels["resource"] != "cpu":
            shown[labels["node"].rsplit("-", 1)[0]].add(labels["resource"])

    assert shown["time-slicing-renamed"] == {"nvidia_com_gpu", "nvidia_com_gpu_shared"}
    assert shown["intel"] == {"gpu_intel_com_i915", "gpu_intel_com_monitoring"}
    neuron = {"neuron", "neuroncore", "neurondevice"}
    assert shown["neuron"] == {f"aws_amazon_com_{name}" for name in neuron}
    assert all(one.startswith("nvidia_com_") for one in shown["mig-mixed"])
    assert not {mode.value for mode in SHARED_MODES if mode.by_claims} & set(shown)
