"""The same history in Prometheus and in VictoriaMetrics gives the same rows of the ledger."""

import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL

from app.simulator.fleet import Fleet
from app.simulator.openmetrics import write_openmetrics
from app.simulator.spec import HOUR_MS, MINUTE_MS, FleetSpec, Outage
from app.sources.catalogue import load_catalogue
from app.sources.prometheus import Backend, PrometheusSettings, PrometheusSource
from app.sources.promql import RAW_SAMPLES, Dialect, Matcher, Operator, Selector, any_of
from app.sources.splitting import gather
from app.store.engine import SERVICE_ROLE, engine_of
from app.store.fact_frames import CONSUMER_USAGE, FACT_TABLES
from app.units.window import Window, from_ms
from app.workflows.collecting import Collected, CollectFrom, collect_hour
from tests.real.ports import wait_until
from tests.real.prometheus import backfill, running_prometheus
from tests.real.victoria_metrics import running_victoria_metrics
from tests.sources.scripted_server import Reply, Request, scripted_server
from tests.store.postgres import another_database

# 2026-11-02T10:00:00Z.
TEN_MS = 1_793_613_600_000
HOURS = 3
# All that a collection writes, but for the instants at which it ran; no gateway is in this fleet.
TABLES = (
    *(table.name for table in FACT_TABLES if table is not CONSUMER_USAGE),
    "window_evidence",
    "window_notes",
    "holds",
    "nodes",
    "node_counts",
    "workloads",
    "models",
)


def window(hour: int) -> Window:
    return Window(from_ms(TEN_MS + hour * HOUR_MS), from_ms(TEN_MS + (hour + 1) * HOUR_MS))


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three hours of four nodes as two Prometheus saw them, with silences and many restarts."""
    spec = FleetSpec(
        seed=11,
        start_ms=TEN_MS,
        hours=HOURS,
        nodes=4,
        gpus_per_node=4,
        services=3,
        replicas=2,
        rollouts=1,
        restarts_per_replica_day=24.0,
        jobs_per_gpu_hour=0.5,
        prometheus_replicas=2,
        outages=(
            Outage(start_ms=TEN_MS + 20 * MINUTE_MS, end_ms=TEN_MS + 31 * MINUTE_MS),
            Outage(
                start_ms=TEN_MS + HOUR_MS - 4 * MINUTE_MS,
                end_ms=TEN_MS + HOUR_MS + 7 * MINUTE_MS,
                target="kube-state-metrics",
            ),
        ),
    )
    path = tmp_path_factory.mktemp("history") / "fleet.om"
    write_openmetrics(Fleet.build(spec), path)
    return path


@pytest.fixture(scope="module")
def victoria(history: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_victoria_metrics(tmp_path_factory.mktemp("victoria")) as server:
        server.load(history)
        yield server.url


def a_source(url: str) -> PrometheusSource:
    return PrometheusSource(PrometheusSettings(url=url))


@contextmanager
def collected(url: str, server: URL, template: URL) -> Iterator[tuple[Engine, list[Collected]]]:
    """Collect the hours into a database of their own."""
    given = CollectFrom(
        cluster="small",
        source=a_source(url),
        catalogue=load_catalogue(),
        scrape_ms=30_000,
        counter_lookback_ms=24 * HOUR_MS,
        watched=False,
    )
    with another_database(server, template) as address:
        engine = engine_of(address, role=SERVICE_ROLE)
        try:
            yield (
                engine,
                [collect_hour(given, window(hour), engine=engine) for hour in range(HOURS)],
            )
        finally:
            engine.dispose()


def rows_of(engine: Engine) -> Mapping[str, list[str]]:
    with engine.connect() as connection:
        return {
            table: sorted(connection.scalars(text(f"SELECT r::text FROM {table} r")))
            for table in TABLES
        }


def test_the_same_history_gives_equal_rows(
    history: Path, victoria: str, tmp_path: Path, postgres_server: URL, postgres_url: URL
) -> None:
    with collected(victoria, postgres_server, postgres_url) as (engine, hours):
        from_victoria, seen_by_victoria = rows_of(engine), hours
    backfill(history, tmp_path / "prometheus")
    with (
        running_prometheus(tmp_path / "prometheus") as prometheus,
        collected(prometheus.url, postgres_server, postgres_url) as (engine, hours),
    ):
        from_prometheus = rows_of(engine)

    for table in TABLES:
        different = set(from_victoria[table]) ^ set(from_prometheus[table])
        assert not different, "\n".join([table, *sorted(different)[:6]])
        assert len(from_victoria[table]) == len(from_prometheus[table]), table
        # Of empty tables equality would say nothing.
        assert from_prometheus[table], table
    assert seen_by_victoria == hours
    assert sum(hour.generation_tokens for hour in hours) > 0


SERIES = """# TYPE tokens unknown
tokens{pod="a",job="vllm"} 1 1793617199.999
tokens{pod="a",job="vllm"} 2 1793617200.000
tokens{pod="a",job="vllm"} 3 1793620799.999
tokens{pod="a",job="vllm"} 4 1793620800.000
tokens{pod="say \\"hi\\"\\\\\\n",job="vllm"} 5 1793617230.000
# EOF
"""
NEXT = window(1)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A handful of samples at the borders of an hour; no more than three series to a question."""
    folder = tmp_path_factory.mktemp("small")
    many = [f'many{{instance="10.0.0.{host}:8000"}} 1 1793617230.000' for host in range(8)]
    text = SERIES.replace("# EOF", "\n".join([*many, "# EOF"]))
    (folder / "small.om").write_text(text, encoding="utf-8")
    with running_victoria_metrics(folder, flags=["-search.maxUniqueTimeseries=3"]) as server:
        server.load(folder / "small.om")
        yield server.url


def test_it_is_recognized_and_its_ranges_have_the_borders_that_were_asked_for(small: str) -> None:
    source = a_source(small)
    first = Matcher("pod", Operator.EQUAL, "a")

    found = gather(
        source, RAW_SAMPLES.over(Selector("tokens", (first,)), NEXT.start_ms, NEXT.end_ms)
    )

    assert source.build_info().backend is Backend.VICTORIA_METRICS
    assert source.dialect is Dialect.BACKSLASHED
    assert found.trouble == ""
    assert found.matrix.at_ms.tolist() == [NEXT.start_ms, NEXT.end_ms - 1]
    assert found.matrix.value.tolist() == [2.0, 3.0]


@pytest.mark.parametrize(
    "matcher",
    [
        Matcher("pod", Operator.EQUAL, 'say "hi"\\\n'),
        any_of("pod", ('say "hi"\\\n', "other.pod")),
    ],
)
def test_it_finds_values_with_quotes_backslashes_and_ends_of_lines(
    small: str, matcher: Matcher
) -> None:
    found = gather(
        a_source(small),
        RAW_SAMPLES.over(Selector("tokens", (matcher,)), NEXT.start_ms, NEXT.end_ms),
    )

    assert found.trouble == ""
    assert [labels["pod"] for labels in found.matrix.labels] == ['say "hi"\\\n']


def test_it_takes_label_names_with_dots(small: str) -> None:
    dotted = Matcher("k8s.pod.name", Operator.EQUAL, "a")

    found = gather(
        a_source(small),
        RAW_SAMPLES.over(Selector("tokens", (dotted,)), NEXT.start_ms, NEXT.end_ms),
    )

    assert found.trouble == ""
    assert found.matrix.labels == []


def test_more_series_than_its_limit_are_asked_for_in_pieces(small: str) -> None:
    query = RAW_SAMPLES.over(Selector("many"), NEXT.start_ms, NEXT.end_ms)

    found = gather(a_source(small), query)

    assert found.trouble == ""
    assert sorted(labels["instance"] for labels in found.matrix.labels) == [
        f"10.0.0.{host}:8000" for host in range(8)
    ]
    assert found.matrix.at_ms.tolist() == [NEXT.start_ms + 30_000] * 8


def test_names_of_metrics_are_those_around_the_hour(small: str) -> None:
    names = a_source(small).label_values("__name__", start_ms=NEXT.start_ms, end_ms=NEXT.end_ms)

    assert sorted(names) == ["many", "tokens"]


def test_the_mark_of_a_series_end_is_no_sample(tmp_path: Path) -> None:
    down = threading.Event()

    def target(_: Request) -> Reply:
        return Reply(500) if down.is_set() else Reply(body=b"tokens_total 7\n")

    with scripted_server(target) as server:
        scrapes = tmp_path / "scrapes.yml"
        address = server.url.removeprefix("http://")
        scrapes.write_text(
            "scrape_configs: [{job_name: vllm, scrape_interval: 1s,"
            f" static_configs: [{{targets: ['{address}']}}]}}]",
            encoding="utf-8",
        )
        flags = [f"-promscrape.config={scrapes}"]
        with running_victoria_metrics(tmp_path / "data", flags=flags) as victoria:
            source = a_source(victoria.url)
            now_ms = round(time.time() * 1000)
            query = RAW_SAMPLES.over(Selector("tokens_total"), now_ms - 60_000, now_ms + 60_000)

            def raw() -> list[float]:
                victoria.flush()
                result = source.query(query.promql, query.at_ms).result
                return [float(value) for series in result for _, value in series["values"]]

            wait_until(lambda: bool(raw()), timeout_seconds=30, what="a first scrape")
            down.set()
            wait_until(lambda: math.isnan(raw()[-1]), timeout_seconds=30, what="the mark")
            found = gather(source, query)

    assert found.trouble == ""
    assert set(found.matrix.value.tolist()) == {7.0}


def test_its_own_buckets_become_cumulative_ones(tmp_path: Path) -> None:
    start = NEXT.start_ms // 1000
    counts = {"1.000e-01...1.136e-01": (3, 5, 6), "1.136e-01...1.292e-01": (None, 1, 4)}
    lines = [
        f'ttft_bucket{{pod="a",vmrange="{bounds}"}} {count} {start + 30 * number}.000'
        for bounds, told in counts.items()
        for number, count in enumerate(told)
        if count is not None
    ]
    (tmp_path / "ranges.om").write_text("\n".join([*lines, "# EOF", ""]), encoding="utf-8")
    with running_victoria_metrics(tmp_path / "data") as server:
        server.load(tmp_path / "ranges.om")
        query = RAW_SAMPLES.over(Selector("ttft_bucket"), NEXT.start_ms, NEXT.end_ms)
        found = gather(a_source(server.url), query).matrix

    values = {
        labels["le"]: found.value[found.first[row] : found.first[row + 1]].tolist()
        for row, labels in enumerate(found.labels)
    }
    assert values == {"0.1136": [3, 5, 6], "0.1292": [3, 6, 10], "+Inf": [3, 6, 10]}
    assert all(set(labels) == {"__name__", "pod", "le"} for labels in found.labels)
