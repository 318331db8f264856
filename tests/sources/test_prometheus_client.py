"""The client of the Prometheus API against answers of every kind."""

import json
from collections.abc import Callable
from functools import partial

import pytest

from app.errors import GpuledgerError
from app.sources.prometheus import (
    Backend,
    PrometheusAnswerBroken,
    PrometheusRefused,
    PrometheusSettings,
    PrometheusSource,
    PrometheusTooMuch,
    PrometheusUnreachable,
)
from tests.real.ports import free_port
from tests.sources.scripted_server import Reply, Request, json_reply, scripted_server

AT_MS = 1_793_617_200_123
PROMETHEUS = {"version": "2.42.0", "revision": "abc", "goVersion": "go1.19"}


def a_matrix(**extra: object) -> Reply:
    series = {"metric": {"__name__": "up"}, "values": [[AT_MS / 1000, "1"]]}
    data = {"resultType": "matrix", "result": [series]}
    return json_reply({"status": "success", "data": data, **extra})


def answering(*replies: Reply, build: object = PROMETHEUS) -> Callable[[Request], Reply]:
    """Answer queries with the replies in turn, the last one again and again."""
    left = list(replies)

    def answer(request: Request) -> Reply:
        if request.path.endswith("/status/buildinfo"):
            return json_reply({"status": "success", "data": build})
        return left.pop(0) if len(left) > 1 else left[0]

    return answer


def a_source(url: str, **options: object) -> PrometheusSource:
    settings = partial(PrometheusSettings, url=url, retry_wait_seconds=0.0, timeout_seconds=5.0)
    return PrometheusSource(settings(**options))


def test_an_instant_keeps_its_milliseconds_and_no_compression_is_asked_for() -> None:
    with scripted_server(answering(a_matrix())) as server:
        answer = a_source(server.url).query("up[1m]", AT_MS)

    request = server.asked[-1]
    assert request.form["time"] == "1793617200.123"
    assert request.form["query"] == "up[1m]"
    assert request.headers["Accept-Encoding"] == "identity"
    assert answer.result[0]["values"] == [[1793617200.123, "1"]]
    assert (answer.warnings, answer.infos, answer.is_partial) == ((), (), False)


def test_warnings_infos_and_a_partial_answer_are_handed_on() -> None:
    reply = a_matrix(warnings=["store down"], infos=["look here"], isPartial=True)
    with scripted_server(answering(reply)) as server:
        answer = a_source(server.url).query("up", AT_MS)

    assert answer.warnings == ("store down",)
    assert answer.infos == ("look here",)
    assert answer.is_partial


def test_credentials_are_sent_and_never_shown() -> None:
    with scripted_server(answering(a_matrix())) as server:
        with_token = PrometheusSettings(
            url=server.url, bearer_token="s3cret", headers=(("X-Scope-OrgID", "team-a"),)
        )
        PrometheusSource(with_token).query("up", AT_MS)
        a_source(server.url, username="reader", password="pa55").query("up", AT_MS)

    token, _, basic = (request.headers for request in server.asked[-3:])
    assert token["Authorization"] == "Bearer s3cret"
    assert token["X-Scope-OrgID"] == "team-a"
    assert basic["Authorization"].startswith("Basic ")
    assert "s3cret" not in repr(with_token)
    assert "team-a" not in repr(with_token)


def test_a_long_query_goes_into_a_body() -> None:
    with scripted_server(answering(a_matrix())) as server:
        source = a_source(server.url)
        source.query("a" * 400, AT_MS)
        source.query("a" * 4000, AT_MS)

    short, long = server.asked[-2:]
    assert (short.method, long.method) == ("GET", "POST")
    assert long.form["query"] == "a" * 4000


@pytest.mark.parametrize(
    ("build", "backend", "sent", "unsent"),
    [
        (PROMETHEUS, Backend.PROMETHEUS, set(), {"nocache", "dedup"}),
        ({"version": "0.36.1"}, Backend.THANOS, {"partial_response", "dedup"}, {"nocache"}),
        ({"version": "2.24.0"}, Backend.VICTORIA_METRICS, {"nocache"}, {"dedup"}),
        ({"version": "2.13", "application": "Grafana Mimir"}, Backend.MIMIR, set(), {"nocache"}),
        ({}, Backend.VICTORIA_METRICS, {"nocache", "deny_partial_response"}, {"dedup"}),
        (None, Backend.UNKNOWN, {"nocache", "partial_response"}, set()),
    ],
)
def test_each_backend_is_told_to_leave_nothing_out(
    build: object, backend: Backend, sent: set[str], unsent: set[str]
) -> None:
    with scripted_server(answering(a_matrix(), build=build)) as server:
        source = a_source(server.url)
        source.query("up", AT_MS)

        assert source.build_info().backend is backend
    assert sent <= set(server.asked[-1].form)
    assert not unsent & set(server.asked[-1].form)


def test_a_backend_without_build_information_is_unknown() -> None:
    with scripted_server(lambda _: Reply(404, b"404 page not found")) as server:
        assert a_source(server.url).build_info().backend is Backend.UNKNOWN


def an_error(kind: str, text: str, status: int) -> Reply:
    return json_reply({"status": "error", "errorType": kind, "error": text}, status)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (
            an_error(
                "execution",
                "query processing would load too many samples into memory in query execution",
                422,
            ),
            PrometheusTooMuch,
        ),
        (
            an_error(
                "bad_data", "exceeded maximum resolution of 11,000 points per timeseries", 400
            ),
            PrometheusTooMuch,
        ),
        (an_error("timeout", "query timed out in expression evaluation", 503), PrometheusTooMuch),
        (Reply(413, b"request entity too large"), PrometheusTooMuch),
        (
            an_error("422", "cannot select more than -search.maxSamplesPerQuery", 422),
            PrometheusTooMuch,
        ),
        (an_error("bad_data", "parse error: unexpected end of input", 400), PrometheusRefused),
        (Reply(401, b"Unauthorized"), PrometheusRefused),
        (Reply(404, b"404 page not found"), PrometheusRefused),
        (Reply(200, b"<html>login</html>"), PrometheusAnswerBroken),
        (Reply(200, b"[1, 2]"), PrometheusAnswerBroken),
        (Reply(200, b'{"status":"success","data":{"resultType":"mat'), PrometheusAnswerBroken),
        (
            json_reply({"status": "success", "data": {"resultType": "scalar"}}),
            PrometheusAnswerBroken,
        ),
        (json_reply({"status": "error", "error": "no"}), PrometheusRefused),
        (Reply(200, b'{"status":"suc', missing=100), PrometheusAnswerBroken),
        (Reply(503, b"Service Unavailable"), PrometheusUnreachable),
        (Reply(502, b""), PrometheusUnreachable),
    ],
)
def test_a_bad_answer_is_one_clear_error(reply: Reply, error: type[GpuledgerError]) -> None:
    with scripted_server(answering(reply)) as server:
        source = a_source(server.url.replace("http://", "http://reader:pa55@"))

        with pytest.raises(error) as caught:
            source.query("up", AT_MS)

    assert type(caught.value) is error
    assert server.url in str(caught.value)
    assert "pa55" not in str(caught.value)
    assert caught.value.hint


def test_a_server_in_trouble_is_asked_again() -> None:
    with scripted_server(answering(Reply(502), Reply(503), a_matrix())) as server:
        answer = a_source(server.url, attempts=3).query("up", AT_MS)

    assert len(answer.result) == 1
    assert server.paths().count("/api/v1/query") == 3


def test_a_refusal_is_not_asked_again() -> None:
    with (
        scripted_server(answering(Reply(401), a_matrix())) as server,
        pytest.raises(PrometheusRefused, match="credentials"),
    ):
        a_source(server.url).query("up", AT_MS)

    assert server.paths().count("/api/v1/query") == 1


def test_nobody_there_is_unreachable() -> None:
    source = a_source(f"http://127.0.0.1:{free_port()}")

    with pytest.raises(PrometheusUnreachable, match="could not be asked"):
        source.query("up", AT_MS)


def test_a_body_beyond_the_limit_is_too_much() -> None:
    reply = a_matrix(padding="x" * (2 << 20))
    with (
        scripted_server(answering(reply)) as server,
        pytest.raises(PrometheusTooMuch, match="too large"),
    ):
        a_source(server.url, max_body_bytes=1 << 20).query("up", AT_MS)


def test_label_values_are_asked_for_in_a_span() -> None:
    reply = json_reply({"status": "success", "data": ["a", "b"]})
    with scripted_server(answering(reply)) as server:
        values = a_source(server.url).label_values("pod", start_ms=1_000, end_ms=2_500, match="up")

    assert values == ("a", "b")
    request = server.asked[-1]
    assert request.path == "/api/v1/label/pod/values"
    assert (request.form["start"], request.form["end"]) == ("1.000", "2.500")
    assert request.form["match[]"] == "up"


def test_label_values_of_another_shape_are_broken() -> None:
    reply = Reply(body=json.dumps({"status": "success", "data": [1]}).encode())
    with (
        scripted_server(answering(reply)) as server,
        pytest.raises(PrometheusAnswerBroken, match="no list of names"),
    ):
        a_source(server.url).label_values("pod", start_ms=0, end_ms=1)
