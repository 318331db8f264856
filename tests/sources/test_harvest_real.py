"""Harvests from a real Prometheus."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from app.simulator.fleet import Fleet
from app.simulator.openmetrics import write_openmetrics
from app.simulator.prometheus_api import SimulatedPrometheus
from app.simulator.spec import FleetSpec
from app.sources.catalogue import load_catalogue
from app.sources.harvest import Harvest, harvest
from app.sources.kube_state import kube_state_inventory
from app.sources.prometheus import (
    Backend,
    PrometheusSettings,
    PrometheusSource,
    PrometheusTooMuch,
)
from app.units.window import HOUR_MS, Window, to_ms
from app.usage.growth import growth
from tests.real.fixtures import PrometheusStarter
from tests.real.prometheus import RunningPrometheus, backfill, running_prometheus
from tests.sources.comparing import same_samples

START = datetime(2026, 11, 2, 10, tzinfo=UTC)
START_MS = to_ms(START)
WINDOW = Window(START, START + timedelta(hours=1))
SCRAPE_MS = 30_000
DAY_MS = 24 * HOUR_MS


def a_source(url: str) -> PrometheusSource:
    return PrometheusSource(PrometheusSettings(url=url))


def a_harvest(server: RunningPrometheus) -> Harvest:
    return harvest(a_source(server.url), load_catalogue(), WINDOW, scrape_ms=SCRAPE_MS)


@pytest.mark.parametrize("limit", [50_000_000, 1_000])
def test_a_real_server_gives_what_the_simulated_one_gives(tmp_path: Path, limit: int) -> None:
    spec = FleetSpec(start_ms=START_MS, hours=1, nodes=3, services=1, prometheus_replicas=1)
    fleet = Fleet.build(spec)
    catalogue = load_catalogue()
    write_openmetrics(fleet, tmp_path / "fleet.om")
    backfill(tmp_path / "fleet.om", tmp_path / "data")

    flags = [f"--query.max-samples={limit}"]
    with running_prometheus(tmp_path / "data", flags=flags) as real:
        source = a_source(real.url)
        assert source.build_info().backend is Backend.PROMETHEUS
        if limit < 50_000_000:
            with pytest.raises(PrometheusTooMuch, match="too many samples"):
                source.query("DCGM_FI_DEV_FB_USED[2h]", WINDOW.end_ms)
        found = harvest(source, catalogue, WINDOW, scrape_ms=SCRAPE_MS)
        seen = kube_state_inventory(source, catalogue, WINDOW, scrape_ms=SCRAPE_MS)
    with SimulatedPrometheus(fleet, lambda: spec.closes_ms) as simulated:
        source = a_source(simulated.url)
        expected = harvest(source, catalogue, WINDOW, scrape_ms=SCRAPE_MS)
        expected_seen = kube_state_inventory(source, catalogue, WINDOW, scrape_ms=SCRAPE_MS)

    same_samples(found, expected)
    assert not found.partial
    assert seen.nodes == expected_seen.nodes
    assert seen.holds == expected_seen.holds


def lines(metric: str, labels: str, points: Iterable[tuple[int, float | str]]) -> Iterable[str]:
    """Yield the lines of one series; instants are milliseconds from the start of the window."""
    for offset_ms, value in points:
        at_ms = START_MS + offset_ms
        yield f"{metric}{{{labels}}} {value} {at_ms // 1000}.{at_ms % 1000:03d}"


def every(step_ms: int, start_ms: int, end_ms: int, value: float) -> list[tuple[int, float]]:
    return [(at_ms, value) for at_ms in range(start_ms, end_ms, step_ms)]


def growing(start_ms: int, end_ms: int, first: int, step: int) -> list[tuple[int, float]]:
    instants = range(start_ms, end_ms, SCRAPE_MS)
    return [(at_ms, first + step * number) for number, at_ms in enumerate(instants)]


def an_exposition(path: Path, *families: tuple[str, Iterable[str]]) -> Path:
    parts = [line for name, rows in families for line in (f"# TYPE {name} unknown", *rows)]
    path.write_text("\n".join([*parts, "# EOF", ""]), encoding="utf-8")
    return path


GPU = 'UUID="GPU-{n}",gpu="{n}",Hostname="n1",modelName="NVIDIA L4",job="dcgm",instance="n1:9400"'
REPLICA = 'job="vllm",namespace="chat",pod="{pod}",instance="{pod}:8000",model_name="m",engine="0"'


def test_renamed_fields_blank_values_and_missing_profiling(
    prometheus_server: PrometheusStarter, tmp_path: Path
) -> None:
    minute = 60_000
    good = [(0, 0.25), (SCRAPE_MS, "NaN"), (2 * SCRAPE_MS, 140737488355328.0), (minute * 2, 0.5)]
    file = an_exposition(
        tmp_path / "devices.om",
        (
            "DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO",
            lines("DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO", GPU.format(n=0), good),
        ),
        (
            "DCGM_FI_DEV_GPU_UTIL_RATIO",
            [
                *lines("DCGM_FI_DEV_GPU_UTIL_RATIO", GPU.format(n=0), [(0, 99)]),
                *lines(
                    "DCGM_FI_DEV_GPU_UTIL_RATIO", GPU.format(n=1), [(0, 40), (minute, 2147483633)]
                ),
                *lines(
                    "DCGM_FI_DEV_GPU_UTIL_RATIO",
                    GPU.format(n=2) + ',GPU_I_ID="1",GPU_I_PROFILE="1g.6gb"',
                    [(0, 0)],
                ),
            ],
        ),
    )

    found = a_harvest(prometheus_server(file))

    (_, engine), (_, utilization) = found.activity
    assert engine.labels["device"].tolist() == ["GPU-0"]
    assert engine.value.tolist() == [0.25, 0.5]
    # MIG instances have no meaningful utilization, so GPU-2 is left without activity.
    assert utilization.labels["device"].tolist() == ["GPU-1"]
    assert utilization.value.tolist() == [0.4]
    dropped = found.notes[found.notes["kind"] == "dropped_samples"]
    assert dict(zip(dropped["subject"], dropped["quantity"], strict=True)) == {
        "DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO": 2,
        "DCGM_FI_DEV_GPU_UTIL_RATIO": 1,
    }
    missing = found.notes[found.notes["kind"] == "missing_family"]
    assert missing["subject"].tolist() == ["energy", "memory_used"]
    assert ("gr_engine_active", "DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO") in found.aliases


def test_a_counter_that_was_silent_for_hours_grows_from_its_last_sample(
    prometheus_server: PrometheusStarter, tmp_path: Path
) -> None:
    silent = [(-5 * HOUR_MS, 100.0), (-5 * HOUR_MS + SCRAPE_MS, 120.0)]
    name = "vllm:prompt_tokens_total"
    file = an_exposition(
        tmp_path / "silent.om",
        (
            name,
            [
                *lines(
                    name, REPLICA.format(pod="a"), [*silent, *growing(600_000, 700_000, 150, 10)]
                ),
                *lines(name, REPLICA.format(pod="b"), growing(-90_000, 3_600_000, 1_000, 1)),
                *lines(name, REPLICA.format(pod="c"), growing(600_000, 700_000, 500, 10)),
            ],
        ),
    )

    found = a_harvest(prometheus_server(file))

    frame = growth(WINDOW, found.counters, found.births, SCRAPE_MS, DAY_MS).set_index("pod")
    # a: 180 − 120, carried over five hours; b: one a scrape; c: of unknown birth, 30 after 500.
    assert frame["growth"].to_dict() == {"a": 60, "b": 120, "c": 30}
    assert frame["uncounted"].to_dict() == {"a": 0, "b": 0, "c": 500}
    assert frame["carried"].to_dict() == {"a": True, "b": False, "c": False}


def test_the_start_of_the_process_is_the_birth_where_no_other_is_known(
    prometheus_server: PrometheusStarter, tmp_path: Path
) -> None:
    name = "vllm:prompt_tokens_total"
    target = 'job="vllm",namespace="chat",pod="a",instance="a:8000"'
    restarted = START_MS / 1000 + 1000.25
    file = an_exposition(
        tmp_path / "process.om",
        (name, lines(name, REPLICA.format(pod="a"), growing(-90_000, 3_600_000, 50, 5))),
        (
            "process_start_time_seconds",
            lines(
                "process_start_time_seconds",
                target,
                [
                    (at_ms, START_MS / 1000 - 5_000 if at_ms < 1_000_000 else restarted)
                    for at_ms in range(-90_000, 3_600_000, SCRAPE_MS)
                ],
            ),
        ),
    )

    found = a_harvest(prometheus_server(file))

    (row,) = growth(WINDOW, found.counters, found.births, SCRAPE_MS, DAY_MS).to_dict("records")
    # The counter never fell, but the first sample of the second process counts from 0:
    # samples at −30 s (60) … 990 s (230), then 235 at 1,020 s counted whole, … 645 at 3,570 s.
    assert row["resets"] == 1
    assert row["growth"] == (230 - 60) + 235 + (660 - 235)


def test_a_sidecar_that_restarts_is_no_birth_of_the_engines_counters(
    prometheus_server: PrometheusStarter, tmp_path: Path
) -> None:
    name = "vllm:prompt_tokens_total"
    process = "process_start_time_seconds"
    sidecar = 'job="proxy",namespace="chat",pod="a",instance="a:9090"'
    starts = [
        (at_ms, START_MS / 1000 + (1_000 if at_ms >= 1_010_000 else -5_000))
        for at_ms in range(-90_000, 3_600_000, SCRAPE_MS)
    ]
    file = an_exposition(
        tmp_path / "sidecar.om",
        (name, lines(name, REPLICA.format(pod="a"), growing(-90_000, 3_600_000, 50, 5))),
        (process, lines(process, sidecar, starts)),
    )

    found = a_harvest(prometheus_server(file))

    (row,) = growth(WINDOW, found.counters, found.births, SCRAPE_MS, DAY_MS).to_dict("records")
    assert (row["resets"], row["growth"]) == (0, 600)


def test_buckets_that_fell_are_read_whole_where_nothing_tells_births(
    prometheus_server: PrometheusStarter, tmp_path: Path
) -> None:
    name = "vllm:time_to_first_token_seconds_bucket"
    fallen = [*growing(-90_000, 600_000, 100, 1), *growing(600_000, HOUR_MS, 4, 2)]
    file = an_exposition(
        tmp_path / "fallen.om",
        (
            name,
            [
                *lines(
                    name, REPLICA.format(pod="calm") + ',le="1.0"', growing(-90_000, HOUR_MS, 0, 3)
                ),
                *lines(name, REPLICA.format(pod="fell") + ',le="1.0"', fallen),
            ],
        ),
    )

    found = a_harvest(prometheus_server(file))

    frame = growth(WINDOW, found.buckets, found.births, SCRAPE_MS, DAY_MS).set_index("pod")
    # calm: 120 × 3. fell: 20 × 1 until it fell, then 4 + 99 × 2.
    assert frame["growth"].to_dict() == {"calm": 360, "fell": 20 + 4 + 198}
    assert frame["resets"].to_dict() == {"calm": 0, "fell": 1}
    counted = dict(zip(found.buckets.labels["pod"], np.diff(found.buckets.first), strict=True))
    assert counted["calm"] < 10
    assert counted["fell"] > 100


def test_a_metric_that_is_renamed_by_an_upgrade_counts_under_both_names_once(
    prometheus_server: PrometheusStarter, tmp_path: Path
) -> None:
    old, cached = "vllm:gpu_prefix_cache_hits_total", "vllm:prompt_tokens_cached_total"
    both = REPLICA.format(pod="both")
    upgraded = REPLICA.format(pod="upgraded")
    born = "vllm:prompt_tokens_cached_created"
    half = HOUR_MS // 2
    file = an_exposition(
        tmp_path / "renamed.om",
        (
            old,
            [
                *lines(old, both, growing(-90_000, HOUR_MS, 0, 7)),
                *lines(old, upgraded, growing(-90_000, half, 0, 10)),
            ],
        ),
        (
            cached,
            [
                *lines(cached, both, growing(-90_000, HOUR_MS, 0, 7)),
                *lines(cached, upgraded, growing(half, HOUR_MS, 20, 10)),
            ],
        ),
        (
            born,
            [
                *lines(born, both, every(SCRAPE_MS, -90_000, HOUR_MS, START_MS / 1000 - 900)),
                *lines(
                    born, upgraded, every(SCRAPE_MS, half, HOUR_MS, (START_MS + half) / 1000 - 9)
                ),
            ],
        ),
    )

    found = a_harvest(prometheus_server(file))

    frame = growth(WINDOW, found.counters, found.births, SCRAPE_MS, DAY_MS).set_index("pod")
    # both: 120 scrapes × 7. upgraded: 60 × 10 under the old name, then 20 + 59 × 10.
    assert frame["growth"].to_dict() == {"both": 840, "upgraded": 600 + 20 + 590}
