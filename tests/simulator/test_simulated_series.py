from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from app.simulator.exposition import FAMILIES, Exposition
from app.simulator.fleet import Fleet
from app.simulator.series import Series
from app.simulator.spec import HOUR_MS, FleetSpec
from tests.simulator.small import MONDAY_MS, day_fleet, small_fleet, small_spec


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return small_fleet()


@pytest.fixture(scope="module")
def exposition(fleet: Fleet) -> Exposition:
    return Exposition(fleet)


@pytest.fixture(scope="module")
def day() -> Fleet:
    return day_fleet()


@pytest.fixture(scope="module")
def day_exposition(day: Fleet) -> Exposition:
    return Exposition(day)


def _by(series: tuple[Series, ...], *labels: str) -> dict[tuple[str, ...], Series]:
    return {tuple(dict(s.labels).get(label, "") for label in labels): s for s in series}


def test_every_family_has_samples_and_every_series_ascends(day_exposition: Exposition) -> None:
    for name in FAMILIES:
        family = day_exposition.family(name)
        assert family, name
        assert len({series.labels for series in family}) == len(family), name
        for series in family:
            assert len(series.at_ms) == len(series.value) > 0
            assert np.all(np.diff(series.at_ms) > 0)
            assert np.all(np.isfinite(series.value))


def test_a_gauge_is_the_true_activity_at_the_instant_of_the_scrape(
    fleet: Fleet, exposition: Exposition
) -> None:
    family = _by(exposition.family("DCGM_FI_PROF_GR_ENGINE_ACTIVE"), "UUID", "pod")
    compared = 0
    for hold in fleet.truth.holds:
        pod = fleet.truth.pod(hold.pod_uid)
        for ordinal, uuid in enumerate(hold.device_uuids):
            series = family.get((uuid, hold.pod))
            if series is not None:
                true = fleet.activity.steps(pod, ordinal).at(series.at_ms) / 1000
                assert np.array_equal(series.value, true)
                assert np.all(series.at_ms >= hold.start_ms)
                assert np.all(series.at_ms < hold.end_ms)
                compared += len(series.at_ms)
    assert compared > 200


def test_a_device_that_nobody_holds_carries_the_exporters_own_pod(
    fleet: Fleet, exposition: Exposition
) -> None:
    exporters = {pod.name for pod in fleet.exporters.values()}
    idle = [
        series
        for series in exposition.family("DCGM_FI_DEV_GPU_UTIL")
        if dict(series.labels)["pod"] in exporters
    ]

    assert idle
    assert all(not series.value.any() for series in idle)


def test_without_honored_labels_the_holder_is_exported() -> None:
    fleet = Fleet.build(replace(small_spec(), honor_labels=False))
    exporters = {pod.name for pod in fleet.exporters.values()}
    held = {hold.pod for hold in fleet.truth.holds}

    labels = [dict(s.labels) for s in Exposition(fleet).family("DCGM_FI_DEV_FB_USED")]

    assert {found["pod"] for found in labels} <= exporters
    assert {found["exported_pod"] for found in labels if "exported_pod" in found} <= held
    assert any("exported_pod" not in found for found in labels)


def test_energy_of_a_device_only_rises_and_matches_its_power(
    fleet: Fleet, exposition: Exposition
) -> None:
    node = fleet.nodes[0]
    points: dict[int, float] = {}
    for series in exposition.family("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"):
        if dict(series.labels)["UUID"] == node.uuids[0]:
            points.update(zip(series.at_ms.tolist(), series.value.tolist(), strict=True))
    times = sorted(points)

    rises = np.diff([points[at] for at in times])
    watts = rises / np.diff(times)

    assert np.all(watts >= node.shape.idle_watts - 1)
    assert np.all(watts <= node.shape.full_watts + 1)


def test_a_counter_shows_what_its_run_has_served_so_far(
    fleet: Fleet, exposition: Exposition
) -> None:
    family = _by(exposition.family("vllm:generation_tokens_total"), "pod")
    compared = 0
    for pod in fleet.pods:
        series = family.get((pod.name,))
        if pod.service is None or series is None:
            continue
        for number, run in enumerate(pod.runs):
            inside = (series.at_ms >= run.serving_ms) & (series.at_ms < run.end_ms)
            since = max(run.serving_ms, fleet.spec.opens_ms)
            before = fleet.traffic.before(pod, number).generation_tokens
            for at_ms, value in zip(series.at_ms[inside], series.value[inside], strict=True):
                served = fleet.truth.served(pod.uid, since, int(at_ms) + 1)
                assert value == before + served.generation_tokens
                compared += 1
    assert compared > 100


def _restart_samples(
    fleet: Fleet, exposition: Exposition
) -> Iterator[tuple[Series, int, int, int]]:
    """Yield each counter's samples before and after a restart, and the restart's instant."""
    family = _by(exposition.family("vllm:prompt_tokens_total"), "pod")
    for restart in fleet.truth.restarts():
        series = family.get((restart.pod,))
        if series is not None:
            after = int(np.searchsorted(series.at_ms, restart.down_ms))
            if 0 < after < len(series.at_ms):
                yield series, after - 1, after, restart.down_ms


@pytest.fixture(scope="module")
def restarting() -> Fleet:
    spec = FleetSpec(
        start_ms=MONDAY_MS,
        hours=6,
        nodes=3,
        jobs_per_gpu_hour=0.0,
        requests_per_second=1.0,
        restarts_per_replica_day=150.0,
        target_outages=0,
        prometheus_outages=0,
    )
    return Fleet.build(spec)


def test_restarts_come_right_before_and_right_after_scrapes(restarting: Fleet) -> None:
    gaps = list(_restart_samples(restarting, Exposition(restarting)))
    rightly_after = [at - series.at_ms[before] for series, before, _, at in gaps]

    assert any(0 < distance <= 20 for distance in rightly_after)
    ups = sorted(restart.up_ms for restart in restarting.truth.restarts())
    scrapes = np.concatenate([series.at_ms for series, *_ in gaps])
    assert any(((scrapes - up > 0) & (scrapes - up <= 20)).any() for up in ups)


def test_a_restarted_counter_may_exceed_its_value_before_within_one_gap(restarting: Fleet) -> None:
    hidden = [
        (series.value[before], series.value[after])
        for series, before, after, _ in _restart_samples(restarting, Exposition(restarting))
        if series.at_ms[after] - series.at_ms[before] < 1.5 * restarting.spec.scrape_ms
        and series.value[after] > series.value[before] > 0
    ]
    falls = [
        series
        for series, before, after, _ in _restart_samples(restarting, Exposition(restarting))
        if series.value[after] < series.value[before]
    ]

    assert len(hidden) > 3
    assert len(falls) > 3


def test_every_restart_moves_the_birth_of_the_counters(restarting: Fleet) -> None:
    exposition = Exposition(restarting)
    births = _by(exposition.family("vllm:prompt_tokens_created"), "pod", "engine")
    moved = 0
    for series, before, after, _ in _restart_samples(restarting, exposition):
        labels = dict(series.labels)
        born = births[labels["pod"], labels["engine"]].value
        assert born[after] * 1000 > series.at_ms[before]
        moved += 1
    assert moved > 10


def test_buckets_rise_with_their_bound_and_end_in_the_count(exposition: Exposition) -> None:
    for name in ("vllm:time_to_first_token_seconds", "vllm:e2e_request_latency_seconds"):
        counts = _by(exposition.family(f"{name}_count"), "pod", "engine")
        rows: dict[tuple[str, str], list[tuple[float, np.ndarray]]] = {}
        for series in exposition.family(f"{name}_bucket"):
            labels = dict(series.labels)
            key = (labels["pod"], labels["engine"])
            rows.setdefault(key, []).append((float(labels["le"]), series.value))
        assert rows.keys() == counts.keys()
        for key, buckets in rows.items():
            table = np.array([value for _, value in sorted(buckets, key=lambda pair: pair[0])])
            assert np.all(np.diff(table, axis=0) >= 0)
            assert np.array_equal(table[-1], counts[key].value)


def test_an_outage_of_prometheus_leaves_no_sample_of_anything(
    fleet: Fleet, exposition: Exposition
) -> None:
    down = [outage for outage in fleet.outages if outage.target == ""]
    assert len(down) == 1

    for name in FAMILIES:
        for series in exposition.family(name):
            inside = (series.at_ms >= down[0].start_ms) & (series.at_ms < down[0].end_ms)
            assert not inside.any()


def test_up_says_which_scrapes_failed(fleet: Fleet, exposition: Exposition) -> None:
    failed = [outage for outage in fleet.outages if outage.target]
    ups = exposition.family("up")
    names = {outage.target for outage in failed}
    seen = {
        dict(series.labels)["pod"]
        for series in ups
        if any(
            ((series.at_ms >= o.start_ms) & (series.at_ms < o.end_ms) & (series.value == 0)).any()
            for o in failed
        )
    }
    exporter_of = {node.name: fleet.exporters[node.uid].name for node in fleet.nodes}

    assert {exporter_of.get(name, name) for name in names} <= seen | {"kube-state-metrics"}


def test_a_pod_shorter_than_a_scrape_may_be_missing_from_kube_state_metrics(
    day: Fleet, day_exposition: Exposition
) -> None:
    seen = {dict(series.labels)["uid"] for series in day_exposition.family("kube_pod_info")}
    short = {
        hold.pod_uid for hold in day.truth.holds if hold.end_ms - hold.start_ms < day.spec.scrape_ms
    }

    assert len(short - seen) > 3
    assert len(short & seen) > 3


def test_a_completion_time_is_the_true_end_of_the_hold(
    day: Fleet, day_exposition: Exposition
) -> None:
    ends = {hold.pod_uid: hold.end_ms for hold in day.truth.holds}
    family = day_exposition.family("kube_pod_completion_time")

    assert len(family) > 50
    for series in family:
        assert set(series.value.tolist()) == {ends[dict(series.labels)["uid"]] / 1000}


def test_two_prometheus_replicas_scrape_at_their_own_instants() -> None:
    fleet = Fleet.build(replace(small_spec(), prometheus_replicas=2))

    copies = _by(Exposition(fleet).family("kube_node_info"), "node", "prometheus_replica")

    first, second = (copies[fleet.nodes[0].name, f"prometheus-{copy}"] for copy in (0, 1))
    assert not np.intersect1d(first.at_ms, second.at_ms).size
    assert abs(len(first.at_ms) - len(second.at_ms)) <= 20


def test_a_family_may_be_renamed_dropped_or_spoiled(fleet: Fleet) -> None:
    def spoil(name: str, family: tuple[Series, ...]) -> tuple[Series, ...]:
        if name == "DCGM_FI_DEV_FB_FREE":
            return ()
        return tuple(Series(s.labels, s.at_ms, s.value * np.nan) for s in family)

    exposition = Exposition(
        fleet, renamed={"DCGM_FI_DEV_GPU_UTIL": "DCGM_FI_DEV_GPU_UTIL_RATIO"}, transform=spoil
    )

    assert exposition.family("DCGM_FI_DEV_GPU_UTIL") == ()
    assert exposition.family("DCGM_FI_DEV_FB_FREE") == ()
    assert np.isnan(exposition.family("DCGM_FI_DEV_GPU_UTIL_RATIO")[0].value).all()
    assert "DCGM_FI_DEV_GPU_UTIL_RATIO" in exposition.names()


def test_scrapes_keep_their_interval_and_jitter(fleet: Fleet, exposition: Exposition) -> None:
    spec = fleet.spec
    series = _by(exposition.family("kube_node_info"), "node")[(fleet.nodes[0].name,)]
    distances = np.diff(series.at_ms)

    regular = distances[distances < 1.5 * spec.scrape_ms]
    assert len(regular) > len(distances) * 0.6
    assert np.all(np.abs(regular - spec.scrape_ms) <= 2 * spec.jitter_ms)
    assert spec.end_ms - spec.start_ms < HOUR_MS
