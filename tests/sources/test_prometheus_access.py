"""Who may ask: tokens, tenants, certificates, and servers that send askers elsewhere."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.sources.prometheus import (
    PrometheusRefused,
    PrometheusSettings,
    PrometheusSource,
    PrometheusUnreachable,
)
from app.sources.promql import RAW_SAMPLES, Selector
from app.sources.splitting import gather
from tests.sources.certificates import Certificates, make_certificates
from tests.sources.scripted_server import Reply, Request, json_reply, scripted_server

AT_MS = 1_793_617_200_123
EMPTY = json_reply({"status": "success", "data": {"resultType": "matrix", "result": []}})
MIMIR = {"application": "Grafana Mimir", "version": "2.14.0"}


def saying(build: object, reply: Callable[[Request], Reply]) -> Callable[[Request], Reply]:
    """Answer the build information with ``build`` and everything else by ``reply``."""

    def answer(request: Request) -> Reply:
        if request.path.endswith("/status/buildinfo"):
            return json_reply({"status": "success", "data": build})
        return reply(request)

    return answer


def a_source(url: str, **options: object) -> PrometheusSource:
    given = {"retry_wait_seconds": 0.0, "timeout_seconds": 5.0, **options}
    return PrometheusSource(PrometheusSettings(url=url, **given))  # type: ignore[arg-type]  # passed on as given


def test_a_token_that_rotates_in_its_file_is_read_for_every_question(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n", encoding="utf-8")
    with scripted_server(lambda _: EMPTY) as server:
        source = a_source(server.url, bearer_token_file=str(file))
        source.query("up", AT_MS)
        file.write_text("second\n", encoding="utf-8")
        source.query("up", AT_MS)

    sent = [request.headers["Authorization"] for request in server.asked]
    assert sent == ["Bearer first", "Bearer first", "Bearer second"]


def test_a_token_file_that_is_gone_is_a_clear_refusal(tmp_path: Path) -> None:
    with (
        scripted_server(lambda _: EMPTY) as server,
        pytest.raises(PrometheusRefused, match=r"bearer token .* cannot be read") as caught,
    ):
        a_source(server.url, bearer_token_file=str(tmp_path / "none")).query("up", AT_MS)

    assert server.asked == []
    assert "bearer_token_file" in caught.value.hint


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def test_a_server_that_wants_a_client_certificate_gets_it(certificates: Certificates) -> None:
    with scripted_server(lambda _: EMPTY, tls=certificates.server_context()) as server:
        answer = a_source(
            server.url,
            ca_file=str(certificates.authority),
            client_cert=str(certificates.certificate("client")),
            client_key=str(certificates.key("client")),
        ).query("up", AT_MS)

    assert server.url.startswith("https://")
    assert answer.result == []


def test_without_a_client_certificate_nothing_is_answered(certificates: Certificates) -> None:
    with (
        scripted_server(lambda _: EMPTY, tls=certificates.server_context()) as server,
        pytest.raises(PrometheusUnreachable, match="could not be asked"),
    ):
        a_source(server.url, ca_file=str(certificates.authority), attempts=1).query("up", AT_MS)

    assert server.asked == []


def test_a_server_of_an_unknown_authority_is_told_nothing(certificates: Certificates) -> None:
    with (
        scripted_server(lambda _: EMPTY, tls=certificates.server_context()) as server,
        pytest.raises(PrometheusUnreachable, match="certificate verify failed"),
    ):
        a_source(
            server.url,
            attempts=1,
            bearer_token="s3cret",
            client_cert=str(certificates.certificate("client")),
            client_key=str(certificates.key("client")),
        ).query("up", AT_MS)

    assert server.asked == []
    assert server.refused == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_says_where_to(status: int) -> None:
    def answer(request: Request) -> Reply:
        if request.path == "/login":
            return Reply(200, b"<html>Sign in</html>")
        return Reply(status, headers=(("Location", "/login?state=s3cret"),))

    with (
        scripted_server(answer) as server,
        pytest.raises(PrometheusRefused, match=r"redirects the .* to /login") as caught,
    ):
        a_source(server.url, bearer_token="t0ken").query("up", AT_MS)

    assert "/login" not in server.paths()
    assert "s3cret" not in str(caught.value)
    assert "credentials" in caught.value.hint


def test_mimir_without_a_tenant_says_which_header_is_missing() -> None:
    def answer(request: Request) -> Reply:
        if "X-Scope-OrgID" not in request.headers:
            return Reply(401, b"no org id\n")
        return EMPTY

    with scripted_server(saying(MIMIR, answer)) as server:
        named = a_source(server.url, headers=(("X-Scope-OrgID", "team-a|team-b"),))
        assert named.query("up", AT_MS).result == []

        with pytest.raises(PrometheusRefused, match="401, no org id") as caught:
            a_source(server.url).query("up", AT_MS)

    assert "X-Scope-OrgID" in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        (
            "the query exceeded the maximum number of chunks (limit: 2000000 chunks)"
            " (err-mimir-max-chunks-per-query). Consider reducing the time range"
        ),
        (
            "the query exceeded the maximum number of series (limit: 100000 series)"
            " (err-mimir-max-series-per-query)"
        ),
        (
            "the query exceeded the aggregated chunks size limit (limit: 50000 bytes)"
            " (err-mimir-max-chunks-bytes-per-query)"
        ),
        (
            "the query time range exceeds the limit (query length: 25h, limit: 12h)"
            " (err-mimir-max-query-length)"
        ),
        "query processing would load too many samples into memory in query execution",
    ],
)
@pytest.mark.parametrize("plain", [True, False])
def test_limits_of_mimir_lead_to_smaller_questions(text: str, *, plain: bool) -> None:
    hour_ms, halves = 3_600_000, []

    def answer(request: Request) -> Reply:
        if f"[{hour_ms}ms]" in request.form.get("query", ""):
            if plain:
                return Reply(422, text.encode())
            return json_reply({"status": "error", "errorType": "execution", "error": text}, 422)
        halves.append(request.form["query"])
        return EMPTY

    query = RAW_SAMPLES.over(Selector("x"), AT_MS, AT_MS + hour_ms)
    with scripted_server(saying(MIMIR, answer)) as server:
        found = gather(a_source(server.url), query)

    assert found.trouble == ""
    assert halves == ["x[1800000ms]"] * 2


def test_a_tenant_that_asks_too_often_waits_and_asks_again() -> None:
    replies = [Reply(429, b"err-mimir-tenant-max-request-rate"), EMPTY]
    with scripted_server(saying(MIMIR, lambda _: replies.pop(0))) as server:
        answer = a_source(server.url).query("up", AT_MS)

    assert answer.result == []


@pytest.mark.parametrize("posts", [False, True])
def test_thanos_is_told_to_answer_wholly_and_at_full_resolution(*, posts: bool) -> None:
    wanted = {"partial_response": "false", "dedup": "true", "max_source_resolution": "0"}
    with scripted_server(saying({"version": "0.36.1"}, lambda _: EMPTY)) as server:
        a_source(server.url).query("a" * 4_000 if posts else "up", AT_MS)

    asked = server.asked[-1]
    assert asked.method == ("POST" if posts else "GET")
    assert wanted.items() <= asked.form.items()


def test_names_are_asked_for_wholly_too() -> None:
    reply = json_reply({"status": "success", "data": ["up"]})
    with scripted_server(saying({"version": "0.36.1"}, lambda _: reply)) as server:
        a_source(server.url).label_values("__name__", start_ms=0, end_ms=1)

    assert server.asked[-1].form["partial_response"] == "false"


@pytest.mark.parametrize(
    "extra", [{"warnings": ["store-2: connection refused"]}, {"isPartial": True}]
)
def test_an_incomplete_list_of_names_is_refused(extra: dict[str, object]) -> None:
    reply = json_reply({"status": "success", "data": ["up"], **extra})
    with (
        scripted_server(lambda _: reply) as server,
        pytest.raises(PrometheusRefused, match="has not all values of the label __name__"),
    ):
        a_source(server.url).label_values("__name__", start_ms=0, end_ms=1)


def test_a_store_that_is_down_is_trouble_and_not_asked_in_pieces() -> None:
    text = "expanding series: proxy Series(): rpc error: code = Unavailable desc = store-2"
    down = json_reply({"status": "error", "errorType": "execution", "error": text}, 422)
    query = RAW_SAMPLES.over(Selector("x"), AT_MS, AT_MS + 3_600_000)
    with scripted_server(saying({"version": "0.36.1"}, lambda _: down)) as server:
        found = gather(a_source(server.url), query)

    assert "store-2" in found.trouble
    assert server.paths().count("/api/v1/query") == 1


def test_warnings_of_a_store_make_the_answer_incomplete() -> None:
    data = {"resultType": "matrix", "result": []}
    reply = json_reply({"status": "success", "data": data, "warnings": ["store-2 is away"]})
    query = RAW_SAMPLES.over(Selector("x"), AT_MS, AT_MS + 3_600_000)
    with scripted_server(saying({"version": "0.36.1"}, lambda _: reply)) as server:
        found = gather(a_source(server.url), query)

    assert found.trouble == "store-2 is away"


def test_headers_of_a_managed_server_are_sent_and_no_cache_answers() -> None:
    headers = (("X-Api-Key", "k3y"), ("X-Amz-Project", "p"))
    with scripted_server(lambda _: EMPTY) as server:
        a_source(f"{server.url}/v1/projects/p/prometheus/", headers=headers).query("up", AT_MS)

    asked = server.asked[-1]
    assert asked.path == "/v1/projects/p/prometheus/api/v1/query"
    assert (asked.headers["X-Api-Key"], asked.headers["X-Amz-Project"]) == ("k3y", "p")
    assert asked.headers["Cache-Control"] == "no-store"


def test_what_the_servers_clock_says_is_read_in_milliseconds() -> None:
    result = [{"metric": {}, "value": [1_793_617_200.5, "1793617200.5"]}]
    data = {"resultType": "vector", "result": result}
    with scripted_server(lambda _: json_reply({"status": "success", "data": data})) as server:
        assert a_source(server.url).server_time_ms() == 1_793_617_200_500

    assert "time" not in server.asked[-1].form


def test_a_query_that_is_too_long_is_not_asked_in_pieces_which_are_no_shorter() -> None:
    text = "too long query; got 20008 bytes; mustn't exceed `-search.maxQueryLen=16384` bytes"
    reply = json_reply({"status": "error", "errorType": "422", "error": text}, 422)
    query = RAW_SAMPLES.over(Selector("x"), AT_MS, AT_MS + 3_600_000)
    with scripted_server(saying({}, lambda _: reply)) as server:
        found = gather(a_source(server.url), query)

    assert "too long query" in found.trouble
    assert server.paths().count("/api/v1/query") == 1
