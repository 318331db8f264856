from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from app.simulator.exposition import FAMILIES, Exposition
from app.simulator.fleet import Fleet
from app.simulator.openmetrics import write_openmetrics
from app.simulator.prometheus_api import SimulatedPrometheus
from tests.real.prometheus import RunningPrometheus, backfill, running_prometheus
from tests.simulator.small import MINUTE_MS, MONDAY_MS, small_fleet

AT_MS = MONDAY_MS + 15 * MINUTE_MS

Row = tuple[tuple[tuple[str, str], ...], Any]


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return small_fleet()


@pytest.fixture(scope="module")
def real(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPrometheus]:
    folder = tmp_path_factory.mktemp("history")
    write_openmetrics(fleet, folder / "fleet.om")
    backfill(folder / "fleet.om", folder / "data")
    with running_prometheus(folder / "data") as server:
        yield server


@pytest.fixture(scope="module")
def simulated(fleet: Fleet) -> Iterator[SimulatedPrometheus]:
    with SimulatedPrometheus(fleet, lambda: fleet.spec.closes_ms) as server:
        yield server


def _rows(url: str, query: str) -> list[Row]:
    form = {"query": query, "time": f"{AT_MS / 1000:.3f}"}
    response = requests.get(f"{url}/api/v1/query", params=form, timeout=30)
    assert response.status_code == 200, response.text
    rows = [
        (tuple(sorted(row["metric"].items())), row.get("values") or row["value"])
        for row in response.json()["data"]["result"]
    ]
    return sorted(rows, key=lambda row: row[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_real_prometheus_gives_back_every_sample(
    real: RunningPrometheus, simulated: SimulatedPrometheus, family: str
) -> None:
    query = f"{family}[25m]"

    assert _rows(real.url, query) == _rows(simulated.url, query)


@pytest.mark.parametrize(
    "query",
    [
        "up",
        'kube_pod_info{node!="",namespace=~"search-.*"}',
        "max_over_time(DCGM_FI_DEV_FB_USED[10m])",
        "count_over_time(DCGM_FI_PROF_GR_ENGINE_ACTIVE[600000ms])",
        "last_over_time(vllm:generation_tokens_total[10m])",
        "resets(vllm:prompt_tokens_total[24h]) > 0",
        "sum by (namespace) (last_over_time(kube_pod_container_resource_requests[2m]))",
        'count by (pod) (max_over_time(DCGM_FI_DEV_GPU_UTIL{pod!~"nvidia.*"}[10m]))',
        "max(up)",
        'last_over_time({__name__=~"kube_node_created|kube_node_info"}[5m])',
    ],
)
def test_a_real_prometheus_answers_queries_alike(
    real: RunningPrometheus, simulated: SimulatedPrometheus, query: str
) -> None:
    rows = _rows(simulated.url, query)

    assert rows
    assert _rows(real.url, query) == rows


def test_a_mean_agrees_with_a_real_prometheus_but_for_rounding(
    real: RunningPrometheus, simulated: SimulatedPrometheus
) -> None:
    query = "avg_over_time(DCGM_FI_PROF_SM_ACTIVE[10m])"
    ours, theirs = _rows(simulated.url, query), _rows(real.url, query)

    assert [labels for labels, _ in ours] == [labels for labels, _ in theirs]
    values = [[float(value[1]) for _, value in rows] for rows in (ours, theirs)]
    assert values[0] == pytest.approx(values[1], rel=1e-12)


@pytest.mark.parametrize("query", ["up{", 'up{a=~"("}', "nothing(up)", '{a=""}'])
def test_a_real_prometheus_refuses_alike(
    real: RunningPrometheus, simulated: SimulatedPrometheus, query: str
) -> None:
    answers = [
        requests.get(f"{server.url}/api/v1/query", params={"query": query}, timeout=30)
        for server in (real, simulated)
    ]

    assert [answer.status_code for answer in answers] == [400, 400]
    assert {answer.json()["errorType"] for answer in answers} == {"bad_data"}
    assert all(answer.json()["error"].startswith("invalid parameter") for answer in answers)


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_openmetrics(small_fleet(), tmp_path / name)

    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_the_order_of_asking_moves_no_byte(tmp_path: Path, fleet: Fleet) -> None:
    fresh = small_fleet()
    exposition = Exposition(fresh)
    for name in reversed(FAMILIES):
        exposition.family(name)
    fresh.truth.served(fresh.pods[-1].uid, fresh.spec.start_ms, fresh.spec.end_ms)

    write_openmetrics(fresh, tmp_path / "asked", exposition=exposition)
    write_openmetrics(fleet, tmp_path / "plain")

    assert (tmp_path / "asked").read_bytes() == (tmp_path / "plain").read_bytes()


def test_a_span_and_some_families_may_be_chosen(tmp_path: Path, fleet: Fleet) -> None:
    path = tmp_path / "part"

    count = write_openmetrics(fleet, path, ["up"], start_ms=MONDAY_MS, end_ms=MONDAY_MS + MINUTE_MS)

    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# TYPE up gauge"
    assert lines[-1] == "# EOF"
    assert len(lines) == count + 2
    assert all(
        MONDAY_MS / 1000 <= float(line.split()[-1]) < MONDAY_MS / 1000 + 60 for line in lines[1:-1]
    )
