import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from app.simulator.clock import ClockError, VirtualClock
from app.simulator.exposition import FAMILIES
from app.simulator.fleet import Fleet
from app.simulator.loopback import LoopbackError
from app.simulator.prometheus_api import SimulatedPrometheus
from tests.simulator.small import MINUTE_MS, MONDAY_MS, small_fleet

ACTIVE = "DCGM_FI_PROF_GR_ENGINE_ACTIVE"


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return small_fleet()


@pytest.fixture
def clock(fleet: Fleet) -> VirtualClock:
    return VirtualClock(fleet.spec.end_ms)


@pytest.fixture
def server(fleet: Fleet, clock: VirtualClock) -> Iterator[SimulatedPrometheus]:
    with SimulatedPrometheus(fleet, clock) as server:
        yield server


def _ask(server: SimulatedPrometheus, query: str, at_ms: int | None = None) -> requests.Response:
    form = {"query": query}
    if at_ms is not None:
        form["time"] = f"{at_ms / 1000:.3f}"
    return requests.get(f"{server.url}/api/v1/query", params=form, timeout=10)


def _result(response: requests.Response) -> list[Any]:
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["status"] == "success"
    result = body["data"]["result"]
    assert isinstance(result, list)
    return result


def test_get_and_post_give_the_same_answer(server: SimulatedPrometheus) -> None:
    form = {"query": f"{ACTIVE}[10m]"}

    posted = requests.post(f"{server.url}/api/v1/query", data=form, timeout=10)

    assert posted.text == _ask(server, form["query"]).text
    assert _result(posted)
    assert server.queries == [form["query"]] * 2


def test_a_range_holds_both_borders_unless_the_server_is_left_open(
    fleet: Fleet, clock: VirtualClock
) -> None:
    with SimulatedPrometheus(fleet, clock) as closed:
        query = 'kube_node_info{node="h100-0000"}'
        row = _result(_ask(closed, f"{query}[10m]"))[0]
        times = [round(at * 1000) for at, _ in row["values"]]
        first, last = times[2], times[7]
        both = _result(_ask(closed, f"{query}[{last - first}ms]", last))[0]["values"]
    with SimulatedPrometheus(fleet, clock, left_open=True) as left_open:
        right = _result(_ask(left_open, f"{query}[{last - first}ms]", last))[0]["values"]

    assert [round(at * 1000) for at, _ in both] == times[2:8]
    assert right == both[1:]


def test_samples_of_the_future_do_not_exist(fleet: Fleet) -> None:
    clock = VirtualClock(MONDAY_MS + 15 * MINUTE_MS)
    with SimulatedPrometheus(fleet, clock) as server:
        rows = _result(_ask(server, "up[10m]", MONDAY_MS + 20 * MINUTE_MS))

    last = max(at for row in rows for at, _ in row["values"])
    assert MONDAY_MS / 1000 + 840 < last <= MONDAY_MS / 1000 + 900


def test_expired_samples_are_gone(server: SimulatedPrometheus, fleet: Fleet) -> None:
    server.oldest_ms = fleet.spec.end_ms + 1

    assert _result(_ask(server, f"{ACTIVE}[1h]", fleet.spec.end_ms)) == []


def test_an_instant_selector_looks_back_five_minutes(
    server: SimulatedPrometheus, fleet: Fleet, clock: VirtualClock
) -> None:
    clock.move_to(fleet.spec.closes_ms + 20 * MINUTE_MS)

    at_close = _result(_ask(server, "kube_node_info", fleet.spec.closes_ms + 4 * MINUTE_MS))
    later = _result(_ask(server, "kube_node_info", fleet.spec.closes_ms + 6 * MINUTE_MS))

    assert at_close
    assert later == []


def test_label_values_know_which_families_had_samples(
    server: SimulatedPrometheus, fleet: Fleet
) -> None:
    address = f"{server.url}/api/v1/label/__name__/values"
    span = {"start": str(fleet.spec.start_ms / 1000), "end": str(fleet.spec.end_ms / 1000)}

    inside = requests.get(address, params=span, timeout=30).json()["data"]
    outside = requests.get(address, params={"start": "0", "end": "1"}, timeout=30).json()["data"]
    some = requests.get(
        address, params={**span, "match[]": '{job="kube-state-metrics"}'}, timeout=30
    ).json()["data"]

    assert {ACTIVE, "vllm:prompt_tokens_total", "up"} <= set(inside) <= set(FAMILIES)
    assert outside == []
    assert set(some) < set(inside)
    assert ACTIVE not in some


def test_series_and_labels_are_listed(server: SimulatedPrometheus) -> None:
    form = {"match[]": 'up{job="kube-state-metrics"}'}

    series = requests.get(f"{server.url}/api/v1/series", params=form, timeout=10).json()["data"]
    labels = requests.get(f"{server.url}/api/v1/labels", params=form, timeout=10).json()["data"]

    assert [found["__name__"] for found in series] == ["up"]
    assert labels == sorted(series[0])


def test_the_server_is_ready_and_tells_its_version(server: SimulatedPrometheus) -> None:
    assert requests.get(f"{server.url}/-/ready", timeout=10).status_code == 200
    build = requests.get(f"{server.url}/api/v1/status/buildinfo", timeout=10).json()
    assert build["data"]["version"] == "2.42.0"
    assert requests.get(f"{server.url}/nothing", timeout=10).status_code == 404


def test_a_query_that_does_not_parse_is_a_400_in_prometheus_words(
    server: SimulatedPrometheus,
) -> None:
    response = _ask(server, "up{")

    assert response.status_code == 400
    assert response.json()["errorType"] == "bad_data"
    assert "parse error" in response.json()["error"]


def test_an_instant_that_is_none_is_a_400(server: SimulatedPrometheus) -> None:
    form = {"query": "up", "time": "yesterday"}

    response = requests.get(f"{server.url}/api/v1/query", params=form, timeout=10)

    assert response.status_code == 400
    assert 'invalid parameter "time"' in response.json()["error"]


def test_instants_may_be_given_as_rfc_3339(server: SimulatedPrometheus) -> None:
    form = {"query": "up", "time": "2026-11-23T00:10:00Z"}

    response = requests.get(f"{server.url}/api/v1/query", params=form, timeout=10)

    assert response.text == _ask(server, "up", MONDAY_MS + 10 * MINUTE_MS).text
    assert _result(response)


def test_too_many_samples_are_refused_as_prometheus_does(server: SimulatedPrometheus) -> None:
    full = _result(_ask(server, f"{ACTIVE}[10m]"))
    count = sum(len(row["values"]) for row in full)

    server.max_samples = count
    assert _ask(server, f"{ACTIVE}[10m]").status_code == 200
    server.max_samples = count - 1
    response = _ask(server, f"{ACTIVE}[10m]")

    assert response.status_code == 422
    assert response.json()["errorType"] == "execution"
    assert "would load too many samples into memory" in response.json()["error"]


def test_two_names_in_one_function_collide(server: SimulatedPrometheus) -> None:
    query = 'max_over_time({__name__=~"kube_pod_created|kube_pod_start_time"}[5m])'

    response = _ask(server, query)

    assert response.status_code == 422
    assert "same labelset" in response.json()["error"]


def test_failures_come_as_often_as_asked(server: SimulatedPrometheus) -> None:
    server.fail_next(502, times=2)

    statuses = [_ask(server, "up").status_code for _ in range(3)]

    assert statuses == [502, 502, 200]


def test_a_truncated_body_is_no_json(server: SimulatedPrometheus) -> None:
    server.truncate_next()

    with pytest.raises(json.JSONDecodeError):
        json.loads(_ask(server, "up").text)
    assert _result(_ask(server, "up"))


def test_warnings_and_partial_answers_are_told(server: SimulatedPrometheus) -> None:
    server.warnings = ("a store was unavailable",)
    server.infos = ("metric might not be a counter",)
    server.is_partial = True

    body = _ask(server, "up").json()

    assert body["warnings"] == ["a store was unavailable"]
    assert body["infos"] == ["metric might not be a counter"]
    assert body["isPartial"] is True


def test_a_token_is_demanded_where_one_is_set(server: SimulatedPrometheus) -> None:
    server.token = "sesame"
    address, form = f"{server.url}/api/v1/query", {"query": "up"}
    headers = {"Authorization": "Bearer sesame"}

    assert _ask(server, "up").status_code == 401
    assert requests.get(address, params=form, headers=headers, timeout=10).status_code == 200


def test_a_port_in_use_is_a_clear_failure(server: SimulatedPrometheus, fleet: Fleet) -> None:
    with pytest.raises(LoopbackError, match=f"127.0.0.1:{server.port}"):
        SimulatedPrometheus(fleet, VirtualClock(0), port=server.port)


def test_virtual_time_never_runs_backwards() -> None:
    clock = VirtualClock(5)
    clock.advance(2)

    assert clock() == 7
    with pytest.raises(ClockError, match="cannot go to 6 ms"):
        clock.move_to(6)
