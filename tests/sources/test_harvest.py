"""Harvests of a simulated fleet: samples at the borders must tell as much as all samples."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from app.simulator.fleet import Fleet
from app.simulator.prometheus_api import SimulatedPrometheus
from app.simulator.spec import FleetSpec
from app.sources.asking import Inquiry, Purpose, Report, Span, answers
from app.sources.births import births_of_buckets
from app.sources.catalogue import load_catalogue
from app.sources.harvest import Harvest, harvest, metric_names
from app.sources.prometheus import PrometheusSettings, PrometheusSource, PrometheusUnreachable
from app.sources.promql import RAW_SAMPLES
from app.sources.sample_sets import concatenated
from app.sources.serving_harvest import COUNTERS, HISTOGRAMS
from app.units.window import HOUR_MS, Window, to_ms
from app.usage import frames
from app.usage.evidence import less_evidence
from app.usage.growth import growth
from app.usage.kinds import ActivityBasis
from app.usage.samples import COUNTER_LABELS, DEVICE_LABELS, SampleSet
from tests.real.ports import free_port
from tests.sources.comparing import same_samples, sets_of

START = datetime(2026, 11, 2, 10, tzinfo=UTC)
SCRAPE_MS = 30_000
DAY_MS = 24 * HOUR_MS
HOURS = [Window(START + timedelta(hours=n), START + timedelta(hours=n + 1)) for n in range(2)]
KEY = ["namespace", "pod", "model", "quantity", "outcome", "le"]


@dataclass(frozen=True, slots=True)
class Harvested:
    """A fleet, what was harvested of its hours, and every sample there is of them."""

    fleet: Fleet
    by_hour: dict[Window, Harvest]
    everything: dict[Window, tuple[SampleSet, SampleSet, SampleSet]]


@pytest.fixture(scope="module", params=[(1, True), (2, False)], ids=["plain", "copies, exported"])
def harvested(request: pytest.FixtureRequest) -> Harvested:
    replicas, honor_labels = request.param
    spec = FleetSpec(
        seed=replicas,
        start_ms=to_ms(START),
        hours=2,
        nodes=5,
        services=2,
        restarts_per_replica_day=40.0,
        target_outages=8,
        prometheus_replicas=replicas,
        honor_labels=honor_labels,
    )
    fleet = Fleet.build(spec)
    catalogue = load_catalogue()
    with SimulatedPrometheus(fleet, lambda: spec.closes_ms) as server:
        source = PrometheusSource(PrometheusSettings(url=server.url))
        return Harvested(
            fleet,
            {hour: harvest(source, catalogue, hour, scrape_ms=SCRAPE_MS) for hour in HOURS},
            {hour: all_samples(source, hour) for hour in HOURS},
        )


def all_samples(source: PrometheusSource, window: Window) -> tuple[SampleSet, SampleSet, SampleSet]:
    """Return counters, buckets and births without any economy."""
    inquiry = Inquiry(
        source=source,
        exporter=load_catalogue().engine("vllm"),
        names=metric_names(source, window, SCRAPE_MS),
        window=window,
        scrape_ms=SCRAPE_MS,
        report=Report(),
    )
    span = Span(start_ms=window.start_ms - DAY_MS, end_ms=window.end_ms + 2 * SCRAPE_MS)

    def of(names: tuple[str, ...], purpose: Purpose) -> SampleSet:
        asks = [
            ask for name in names for ask in inquiry.asks(name, RAW_SAMPLES, span, purpose=purpose)
        ]
        sets = [answer.samples for answer in answers(source, asks, inquiry.report)]
        return concatenated(sets, COUNTER_LABELS)

    births = of((*COUNTERS, *HISTOGRAMS), Purpose.BIRTHS)
    buckets = of(HISTOGRAMS, Purpose.SAMPLES)
    both = concatenated([births, births_of_buckets(births, buckets.labels)], COUNTER_LABELS)
    return of(COUNTERS, Purpose.SAMPLES), buckets, both


def grown(window: Window, samples: SampleSet, births: SampleSet) -> pd.DataFrame:
    frame = growth(window, samples, births, SCRAPE_MS, DAY_MS)
    seen = frame[frame["samples"] > 0]
    return seen.groupby(KEY)[["growth", "uncounted"]].sum().sort_index()


def test_counters_grow_as_with_all_samples(harvested: Harvested) -> None:
    for hour, found in harvested.by_hour.items():
        counters, _, births = harvested.everything[hour]

        expected = grown(hour, counters, births)

        pd.testing.assert_frame_equal(grown(hour, found.counters, found.births), expected)
        assert expected["growth"].sum() > 0


def test_buckets_grow_as_with_all_samples_from_fewer_samples(harvested: Harvested) -> None:
    for hour, found in harvested.by_hour.items():
        _, buckets, births = harvested.everything[hour]

        expected = grown(hour, buckets, births)

        pd.testing.assert_frame_equal(grown(hour, found.buckets, found.births), expected)
        assert expected["growth"].sum() > 0
        assert len(found.buckets.at_ms) < len(buckets.at_ms)


def test_sample_sets_keep_their_promises(harvested: Harvested) -> None:
    for found in harvested.by_hour.values():
        for samples, columns in sets_of(found):
            assert tuple(samples.labels.columns) == columns
            assert list(samples.labels.index) == list(range(len(samples.labels)))
            assert len(samples.first) == len(samples.labels) + 1
            assert samples.first[-1] == len(samples.at_ms) == len(samples.value)
            assert np.isfinite(samples.value).all()
            inside = np.diff(samples.series_of_samples()) == 0
            assert (np.diff(samples.at_ms)[inside] > 0).all()
            assert not (samples.labels[["identity", "series"]] == "").any(axis=None)


def test_activity_is_a_ratio_and_each_device_has_one_basis(harvested: Harvested) -> None:
    real = {uuid for node in harvested.fleet.nodes for uuid in node.uuids}
    coarse_only = {
        uuid for node in harvested.fleet.nodes if not node.shape.profiling for uuid in node.uuids
    }
    for found in harvested.by_hour.values():
        (good, engine), (coarse, utilization) = found.activity

        assert (good, coarse) == (ActivityBasis.GR_ENGINE_ACTIVE, ActivityBasis.GPU_UTIL)
        assert set(engine.labels["device"]) <= real - coarse_only
        assert set(utilization.labels["device"]) == coarse_only
        for samples in (engine, utilization):
            assert samples.value.min() >= 0.0
            assert samples.value.max() <= 1.0


def test_holders_are_the_pods_that_hold_devices(harvested: Harvested) -> None:
    holding = {(hold.namespace, hold.pod) for hold in harvested.fleet.truth.holds}
    for found in harvested.by_hour.values():
        for _, samples in found.activity:
            named = set(zip(samples.labels["namespace"], samples.labels["pod"], strict=True))
            assert named <= holding | {("", "")}
            assert len(named) > 1


def test_samples_at_both_borders_reach_two_scrapes_further(harvested: Harvested) -> None:
    for hour, found in harvested.by_hour.items():
        for _, samples in found.activity:
            assert samples.at_ms.min() >= hour.start_ms - 2 * SCRAPE_MS
            assert samples.at_ms.max() < hour.end_ms + 2 * SCRAPE_MS
            assert (samples.at_ms < hour.start_ms).any()
            assert (samples.at_ms >= hour.end_ms).any()


def test_copies_are_told_and_add_no_evidence(harvested: Harvested) -> None:
    doubled = harvested.fleet.spec.prometheus_replicas > 1
    for found in harvested.by_hour.values():
        frames.EVIDENCE.validate(found.evidence)
        frames.NOTES.validate(found.notes)
        assert ("duplicate_series" in set(found.notes["kind"])) == doubled
        seen = found.evidence.set_index("family")
        assert (seen["seen"] > 0).all()
        assert (seen["seen"] <= seen["expected"] * 1.02 + 2).all()
        assert not found.partial


def test_the_names_in_use_are_recorded(harvested: Harvested) -> None:
    found = harvested.by_hour[HOURS[0]]

    assert ("prompt_tokens", "vllm:prompt_tokens_total") in found.aliases
    assert ("gpu_util", "DCGM_FI_DEV_GPU_UTIL") in found.aliases


def test_figures_have_one_value_a_series(harvested: Harvested) -> None:
    found = harvested.by_hour[HOURS[0]]
    for frame in (found.memory_used_max_mib, found.sm_active_mean, found.dram_active_mean):
        assert tuple(frame.columns) == (*DEVICE_LABELS, "value")
        assert len(frame) > 0
    assert found.memory_used_max_mib["value"].max() > 1_000
    assert found.sm_active_mean["value"].between(0.0, 1.0).all()


@pytest.mark.parametrize("difference", ["again", "small server", "left-open ranges"])
def test_the_same_window_gives_the_same_harvest(harvested: Harvested, difference: str) -> None:
    spec, hour = harvested.fleet.spec, HOURS[1]
    left_open = difference == "left-open ranges"
    with SimulatedPrometheus(
        harvested.fleet, lambda: spec.closes_ms, left_open=left_open
    ) as server:
        if difference == "small server":
            server.max_samples = 700
        source = PrometheusSource(PrometheusSettings(url=server.url))
        found = harvest(source, load_catalogue(), hour, scrape_ms=SCRAPE_MS)

    same_samples(found, harvested.by_hour[hour])


def test_a_broken_family_makes_the_window_partial_and_leaves_the_others(
    harvested: Harvested,
) -> None:
    spec = harvested.fleet.spec
    with SimulatedPrometheus(harvested.fleet, lambda: spec.closes_ms) as server:
        source = PrometheusSource(PrometheusSettings(url=server.url, attempts=1))
        server.truncate_next()
        found = harvest(source, load_catalogue(), HOURS[0], scrape_ms=SCRAPE_MS)

    assert found.partial
    told = found.notes[found.notes["kind"] == "partial"]
    assert told["subject"].tolist() == ["gr_engine_active"]
    assert "not JSON" in told["detail"].iloc[0]
    assert len(found.energy.at_ms) == len(harvested.by_hour[HOURS[0]].energy.at_ms)


def test_a_history_that_expired_shows_as_evidence_of_nothing(harvested: Harvested) -> None:
    spec = harvested.fleet.spec
    with SimulatedPrometheus(harvested.fleet, lambda: spec.closes_ms) as server:
        server.oldest_ms = HOURS[0].end_ms + 2 * SCRAPE_MS
        source = PrometheusSource(PrometheusSettings(url=server.url))
        found = harvest(source, load_catalogue(), HOURS[0], scrape_ms=SCRAPE_MS)

    assert found.evidence["seen"].sum() == 0
    assert found.partial
    assert "prometheus" in set(found.notes.loc[found.notes["kind"] == "partial", "subject"])


def test_a_history_that_begins_with_the_window_shows_as_fewer_beginnings(
    harvested: Harvested,
) -> None:
    window, spec = HOURS[1], harvested.fleet.spec
    with SimulatedPrometheus(harvested.fleet, lambda: spec.closes_ms) as server:
        server.oldest_ms = window.start_ms
        source = PrometheusSource(PrometheusSettings(url=server.url))
        found = harvest(source, load_catalogue(), window, scrape_ms=SCRAPE_MS)

    before = harvested.by_hour[window]
    counted = grown(window, before.counters, before.births)["growth"].sum()
    assert grown(window, found.counters, found.births)["growth"].sum() < counted
    lost = less_evidence(before.evidence, found.evidence)
    assert [one.family for one in lost] == ["counter_beginnings"]


def test_samples_that_come_more_rarely_than_configured_are_named(harvested: Harvested) -> None:
    spec = harvested.fleet.spec
    with SimulatedPrometheus(harvested.fleet, lambda: spec.closes_ms) as server:
        source = PrometheusSource(PrometheusSettings(url=server.url))
        found = harvest(source, load_catalogue(), HOURS[0], scrape_ms=15_000)

    named = found.notes.loc[found.notes["kind"] == "scrape_interval"].set_index("subject")
    assert abs(named.loc["counters", "quantity"] - SCRAPE_MS) < 100
    assert "gr_engine_active" in named.index
    usual = harvested.by_hour[HOURS[0]].notes
    assert "scrape_interval" not in set(usual["kind"])


def test_engines_that_are_not_there_cost_nothing(harvested: Harvested) -> None:
    spec, hour = harvested.fleet.spec, HOURS[0]
    catalogue = load_catalogue()
    alone = replace(catalogue, engines=(catalogue.engine("vllm"),))
    with SimulatedPrometheus(harvested.fleet, lambda: spec.closes_ms) as server:
        source = PrometheusSource(PrometheusSettings(url=server.url))
        found = harvest(source, alone, hour, scrape_ms=SCRAPE_MS)

    assert len(catalogue.engines) > 1
    assert found.questions == harvested.by_hour[hour].questions
    same_samples(found, harvested.by_hour[hour])


def test_nobody_there_raises() -> None:
    source = PrometheusSource(PrometheusSettings(url=f"http://127.0.0.1:{free_port()}", attempts=1))

    with pytest.raises(PrometheusUnreachable):
        harvest(source, load_catalogue(), HOURS[0], scrape_ms=SCRAPE_MS)
