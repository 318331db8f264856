"""What each exporter of hardware says, from a real Prometheus to the usage of holds, exactly."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
import pytest

from app.sources.catalogue import load_catalogue
from app.sources.harvest import Harvest, harvest
from app.sources.prometheus import PrometheusSettings, PrometheusSource
from app.units.window import to_ms
from app.usage.activity import DeviceMetrics, measure
from app.usage.kinds import ActivityBasis, ActivityScope, Sharing
from app.usage.states import device_states
from tests.real.prometheus import backfill, running_prometheus
from tests.sources.scraped import EXPOSITIONS, SCRAPE_MS, START, WINDOW, Target, write_history
from tests.usage.builders import a_count, a_hold, a_pool, counts_of, holds_frame, pools_of, spans

DEVICES = EXPOSITIONS.parent / "devices"
START_MS = to_ms(START)
HOUR = WINDOW.length_ms
# Each file is scraped on a node of its own, with this many devices.
NODES = {
    "dcgm_mig": 2,
    "dcgm_virtual": 1,
    "dcgm_own": 1,
    "dcgm_flip": 2,
    "dcgm_old": 1,
    "dcgm_dra": 2,
    "dcgm_blanks": 4,
    "amd": 2,
    "amd_prefixed": 2,
    "intel_v1": 2,
    "intel_v2": 1,
    "hami": 1,
    "gke": 2,
    "tpu": 4,
    "neuron": 2,
}
NUMBER = {name: number for number, name in enumerate(NODES, start=1)}
# The first scrapes speak until the last before half past, the second until the last of the hour.
FIRST, SECOND, SILENT = HOUR // 2 - SCRAPE_MS, HOUR // 2, SCRAPE_MS


@dataclass(frozen=True, slots=True)
class Shown:
    """What was harvested of all nodes, and the usage of holds on them."""

    harvested: Harvest

    def measured(self, node: str, *holds: dict[str, object]) -> pd.DataFrame:
        """Return the usage of holds on one node by pod."""
        start, number = START_MS - HOUR, NUMBER[node]
        states = device_states(
            WINDOW,
            pools_of(a_pool(number, devices=NODES[node], start_ms=start)),
            counts_of(a_count(number, allocatable=NODES[node], start_ms=start)),
            holds_frame(*holds),
            spans((start, START_MS + 2 * HOUR)),
        )
        found = self.harvested
        metrics = DeviceMetrics(
            activity=found.activity,
            sharers=found.sharers,
            energy=found.energy,
            memory_used_max_mib=found.memory_used_max_mib,
            sm_active_mean=found.sm_active_mean,
            dram_active_mean=found.dram_active_mean,
        )
        nodes = pd.DataFrame(
            {"node_id": list(NUMBER.values()), "node_name": pd.Series(NUMBER, dtype="str").index}
        )
        return measure(WINDOW, states, metrics, nodes, SCRAPE_MS).set_index(
            pd.Index([str(hold["pod"]) for hold in sorted(holds, key=_number)])
        )


def _number(hold: dict[str, object]) -> int:
    number = hold["hold_id"]
    assert isinstance(number, int)
    return number


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    folder = tmp_path_factory.mktemp("exporters")
    targets = [
        Target(
            f"{name}.prom",
            pod=f"{name.partition('_')[0]}-exporter-x1",
            namespace="monitoring" if name in {"dcgm_flip", "amd_prefixed"} else "",
            port=9400,
            folder=DEVICES,
            further={"job": name, "node": name}
            | ({} if name in {"dcgm_flip", "amd_prefixed"} else {"pod": ""}),
        )
        for name in NODES
    ]
    backfill(write_history(targets, folder / "exporters.om"), folder / "data")
    with running_prometheus(folder / "data") as server:
        source = PrometheusSource(PrometheusSettings(url=server.url))
        yield Shown(harvest(source, load_catalogue(), WINDOW, scrape_ms=SCRAPE_MS))


def held(
    number: int, node: str, pod: str, share: tuple[int, int] = (1, 1), **given: object
) -> dict[str, object]:
    return a_hold(
        number,
        **{
            "node_id": NUMBER[node],
            "pod": pod,
            "share": share,
            "start_ms": START_MS,
            **given,
        },
    )


def shared(
    number: int, node: str, pod: str, share: tuple[int, int], **given: object
) -> dict[str, object]:
    how = {"exclusive": False, "sharing": Sharing.TIME_SLICING}
    return held(number, node, pod, share, **how | given)


def times(row: "pd.Series[int]") -> tuple[int, int, int]:
    return int(row["active_ms"]), int(row["idle_ms"]), int(row["unmeasured_ms"])


def spent(first: float, second: float, share: float = 1.0) -> tuple[int, int, int]:
    """Return active, idle and unmeasured milliseconds of two halves of the hour."""
    active = round(share * (FIRST * first + SECOND * second))
    unmeasured = round(share * SILENT)
    return active, round(share * HOUR) - unmeasured - active, unmeasured


def test_instances_of_mig_have_their_own_activity_and_their_part_of_the_energy(
    shown: Shown,
) -> None:
    how = {"sharing": Sharing.MIG, "units": 1}
    usage = shown.measured(
        "dcgm_mig",
        held(1, "dcgm_mig", "trainer", (1, 2), compute=(3, 7), **how),
        held(2, "dcgm_mig", "web", (1, 8), compute=(1, 7), **how),
        held(3, "dcgm_mig", "batch"),
    )

    assert times(usage.loc["trainer"]) == spent(0.5, 1.0, 1 / 2)
    assert times(usage.loc["web"]) == spent(0.0, 0.0, 1 / 8)
    assert times(usage.loc["batch"]) == spent(1.0, 0.5)
    assert usage["energy_mj"].tolist() == [3_600_000, 900_000, 14_400_000]
    assert usage["memory_used_max_mib"].tolist() == [30_000.0, 1_000.0, 70_000.0]
    assert set(usage["activity_scope"]) == {ActivityScope.DEVICE}
    assert set(usage["activity_basis"]) == {ActivityBasis.GR_ENGINE_ACTIVE}


@pytest.mark.parametrize(
    ("node", "slots", "values", "basis"),
    [
        ("dcgm_virtual", 3, (0.6, 0.3), ActivityBasis.GR_ENGINE_ACTIVE),
        ("dcgm_own", 2, (0.5, 0.8), ActivityBasis.GPU_UTIL),
    ],
)
def test_sharers_split_what_the_device_did_once(
    shown: Shown, node: str, slots: int, values: tuple[float, float], basis: ActivityBasis
) -> None:
    usage = shown.measured(
        node, *(shared(n + 1, node, f"slice-{n}", (1, slots)) for n in range(slots))
    )

    for _, row in usage.iterrows():
        assert times(row) == spent(*values, 1 / slots)
        assert row["activity_scope"] == ActivityScope.SHARED_DEVICE
        assert row["activity_basis"] == basis


def test_the_pod_label_of_a_shared_device_places_nobody(shown: Shown) -> None:
    usage = shown.measured(
        "dcgm_flip",
        shared(1, "dcgm_flip", "slice-0", (1, 2)),
        shared(2, "dcgm_flip", "slice-1", (1, 2)),
    )

    for _, row in usage.iterrows():
        assert times(row) == spent(0.4, 0.4, 1 / 2)
        assert row["activity_scope"] == ActivityScope.SHARED_POOL


def test_instances_without_pods_are_read_as_their_device(shown: Shown) -> None:
    how = {"sharing": Sharing.MIG, "units": 1}
    usage = shown.measured("dcgm_old", held(1, "dcgm_old", "any", (1, 4), **how))

    # 2g at 1.0 and twice 1g at 0.5, then 1g at 0.2: weighed by slices of four.
    assert times(usage.loc["any"]) == spent(0.75, 0.05, 1 / 4)
    assert usage.loc["any", "activity_scope"] == ActivityScope.SHARED_DEVICE


def test_a_claim_that_pods_share_is_read_from_its_device(shown: Shown) -> None:
    how = {"sharing": Sharing.SHARED_CLAIM, "devices": "GPU-dra-0"}
    usage = shown.measured(
        "dcgm_dra",
        shared(1, "dcgm_dra", "one", (1, 2), **how),
        shared(2, "dcgm_dra", "two", (1, 2), **how),
    )

    for _, row in usage.iterrows():
        assert times(row) == spent(0.2, 0.6, 1 / 2)
        assert row["activity_scope"] == ActivityScope.SHARED_DEVICE


def test_no_blank_value_of_dcgm_is_a_measure(shown: Shown) -> None:
    usage = shown.measured("dcgm_blanks", held(1, "dcgm_blanks", "all", (4, 1)))

    row = usage.loc["all"]
    # 10, 20, 30 and 40 % in the second half, by the coarse metric, whose first sample speaks for
    # two scrapes.
    spoken = SECOND + SCRAPE_MS
    assert times(row) == (spoken, 3 * spoken, 4 * HOUR - 4 * spoken)
    # A blank hides what the other samples of its device say from the server's maximum, not here.
    assert row["memory_used_max_mib"] == 7_000.0
    assert pd.isna(row["energy_mj"])
    dropped = shown.harvested.notes.query("kind == 'dropped_samples'").set_index("subject")
    assert "DCGM_FI_PROF_GR_ENGINE_ACTIVE" in dropped.index


def test_amd_is_read_whole_by_gfx_activity_and_in_partitions_by_its_dies(shown: Shown) -> None:
    usage = shown.measured(
        "amd",
        held(1, "amd", "tuner"),
        shared(2, "amd", "part", (1, 8), units=1, sharing=Sharing.FRACTION),
    )

    assert times(usage.loc["tuner"]) == spent(0.8, 0.4)
    assert usage.loc["tuner", "activity_basis"] == ActivityBasis.AMD_GFX_ACTIVITY
    # 7,000,000 to 720,007,000,000 microjoules.
    assert usage.loc["tuner", "energy_mj"] == 720_000_000
    assert usage.loc["tuner", "memory_used_max_mib"] == 160_000.0
    assert times(usage.loc["part"]) == spent(0.3, 0.7, 1 / 8)
    assert usage.loc["part", "activity_basis"] == ActivityBasis.AMD_GFX_BUSY
    assert usage.loc["part", "energy_mj"] == 90_000_000
    assert set(usage["activity_scope"]) == {ActivityScope.DEVICE}


def test_virtual_functions_of_amd_with_one_uuid_are_several_devices(shown: Shown) -> None:
    usage = shown.measured("amd_prefixed", held(1, "amd_prefixed", "vf-0"))

    assert times(usage.loc["vf-0"]) == spent(0.5, 0.25)
    assert usage.loc["vf-0", "activity_scope"] == ActivityScope.DEVICE


def test_intel_is_read_by_its_busiest_engine_that_computes(shown: Shown) -> None:
    usage = shown.measured("intel_v1", held(1, "intel_v1", "encoder"))

    assert times(usage.loc["encoder"]) == spent(0.5, 0.1)
    assert usage.loc["encoder", "activity_basis"] == ActivityBasis.INTEL_ENGINE
    assert usage.loc["encoder", "energy_mj"] == 7_200_000
    assert usage.loc["encoder", "memory_used_max_mib"] == 8_192.0


def test_tiles_of_an_intel_card_are_one_device_under_the_names_of_version_2(
    shown: Shown,
) -> None:
    usage = shown.measured("intel_v2", held(1, "intel_v2", "any"))

    assert times(usage.loc["any"]) == spent(0.6, 0.1)
    assert ("engine_active", "hw_gpu_utilization_ratio") in shown.harvested.aliases


def test_fractions_of_hami_have_their_own_activity_under_either_name_once(shown: Shown) -> None:
    how = {"sharing": Sharing.FRACTION}
    usage = shown.measured(
        "hami",
        shared(1, "hami", "chat", (3, 4), **how),
        shared(2, "hami", "embed", (1, 4), **how),
    )

    # Two containers with 30 and 10 % of the device are 40 of 75 %, then 70 of 75 %.
    active, idle, unmeasured = times(usage.loc["chat"])
    assert active == pytest.approx(0.40 * FIRST + 0.70 * SECOND, abs=1)
    assert unmeasured == SILENT * 3 // 4
    assert active + idle + unmeasured == HOUR * 3 // 4
    assert times(usage.loc["embed"]) == spent(0.2, 0.0, 1 / 4)
    assert set(usage["activity_scope"]) == {ActivityScope.SHARER}
    assert set(usage["activity_basis"]) == {ActivityBasis.HAMI_CONTAINER}


def test_a_sharer_that_hami_does_not_tell_apart_is_read_from_the_device(shown: Shown) -> None:
    usage = shown.measured("hami", shared(1, "hami", "other", (1, 2), sharing=Sharing.FRACTION))

    assert times(usage.loc["other"]) == spent(0.55, 0.6, 1 / 2)
    assert usage.loc["other", "activity_basis"] == ActivityBasis.HAMI_HOST


def test_gke_tells_of_a_device_twice_and_it_counts_once(shown: Shown) -> None:
    usage = shown.measured("gke", held(1, "gke", "ranker"), held(2, "gke", "nobody-says"))

    assert times(usage.loc["ranker"]) == spent(0.3, 0.9)
    assert usage.loc["ranker", "activity_basis"] == ActivityBasis.DUTY_CYCLE
    assert usage.loc["ranker", "memory_used_max_mib"] == 2_048.0
    assert times(usage.loc["nobody-says"]) == spent(0.0, 0.0)


def test_a_tpu_is_read_by_its_duty_cycle_and_else_by_its_tensor_cores(shown: Shown) -> None:
    usage = shown.measured("tpu", held(1, "tpu", "pretrain", (2, 1)), held(2, "tpu", "other"))

    active, idle, unmeasured = times(usage.loc["pretrain"])
    assert (active, unmeasured) == (round(1.5 * FIRST + 0.5 * SECOND), 2 * SILENT)
    assert active + idle + unmeasured == 2 * HOUR
    assert usage.loc["pretrain", "activity_basis"] == ActivityBasis.DUTY_CYCLE
    assert times(usage.loc["other"]) == spent(0.5, 0.5)
    assert usage.loc["other", "activity_basis"] == ActivityBasis.TPU_TENSORCORE


def test_neuron_is_the_mean_of_its_cores(shown: Shown) -> None:
    usage = shown.measured("neuron", held(1, "neuron", "any"))

    assert times(usage.loc["any"]) == spent(0.1, 0.75)
    assert usage.loc["any", "activity_scope"] == ActivityScope.SHARED_POOL


def test_every_file_of_the_folder_is_scraped() -> None:
    assert {file.stem for file in DEVICES.glob("*.prom")} == set(NODES)


def test_every_device_counts_once_in_the_evidence(shown: Shown) -> None:
    evidence = shown.harvested.evidence.set_index("family")

    assert (evidence["seen"] <= evidence["expected"]).all()
    assert not shown.harvested.partial
    names = shown.harvested.notes.query("kind == 'missing_family'")
    assert not names["detail"].str.contains("HAMi").any()
