"""Prometheus and Kubernetes that do not answer as they should: one error, and nothing changes."""

import gzip
from collections.abc import Callable

import pytest

from tests.cli.commands import CommandLine
from tests.cli.stage import SPAN, cluster, configuration, everything
from tests.real.ports import free_port
from tests.sources.scripted_server import Reply, Request, json_reply, scripted_server

Answer = Callable[[Request], Reply]
PAGE = b"<!DOCTYPE html><html><title>Sign in</title><body>Sign in to continue</body></html>"
VERSION = json_reply({"status": "success", "data": {"version": "2.42.0", "goVersion": "go1.19"}})
NAMES = {"status": "success", "data": ["DCGM_FI_PROF_GR_ENGINE_ACTIVE", "kube_pod_info"]}


def then(reply: Reply) -> Answer:
    """Answer what the server is, and every question with ``reply``."""
    return lambda request: VERSION if request.path.endswith("/buildinfo") else reply


def always(reply: Reply) -> Answer:
    return lambda _request: reply


def moved(request: Request) -> Reply:
    if request.path == "/login":
        return Reply(body=PAGE, headers=(("Content-Type", "text/html"),))
    return Reply(status=302, headers=(("Location", "/login"),))


PROMETHEUS_CASES: dict[str, tuple[Answer, str]] = {
    "is overloaded": (always(Reply(status=503, body=b"overloaded")), "HTTP 503: overloaded"),
    "fails": (then(Reply(status=500, body=b"out of memory")), "HTTP 500: out of memory"),
    "fails behind a proxy": (then(Reply(status=502, body=PAGE)), "HTTP 502"),
    "wants a login": (always(Reply(status=401, body=b"Unauthorized")), "Check the credentials"),
    "wants other rights": (then(Reply(status=403, body=PAGE)), "Check the credentials"),
    "is a login page": (always(Reply(body=PAGE)), "it is a web page, perhaps a login"),
    "sends to a login page": (moved, "redirects the values"),
    "sends around": (always(Reply(status=302, headers=(("Location", "/"),))), "redirect"),
    "is another server": (always(Reply(status=404, body=PAGE)), "Check the address"),
    "cuts its body": (then(Reply(body=b'{"status":"success","da', missing=500)), "cut short"),
    "cuts its JSON": (then(Reply(body=b'{"status":"success","data":["a')), "it is not JSON"),
    "says nothing": (then(Reply(body=b"")), "it is not JSON"),
    "says a number": (then(Reply(body=b"7")), "it is no object"),
    "says another shape": (then(json_reply({"status": "success", "data": {"a": 1}})), "no list"),
    "says an error": (
        then(json_reply({"status": "error", "errorType": "internal", "error": "disk gone"})),
        "disk gone",
    ),
    "is broken gzip": (
        then(Reply(body=gzip.compress(b"{}")[:-9], headers=(("Content-Encoding", "gzip"),))),
        "cannot be read",
    ),
}


@pytest.fixture
def there(standing: CommandLine) -> CommandLine:
    """The standing ledger, whose configuration a test may write anew."""
    standing.file("other.toml", (standing.folder / "gpuledger.toml").read_text())
    return CommandLine(standing.folder, {**standing.variables, "GPULEDGER_CONFIG": "other.toml"})


@pytest.mark.parametrize("case", PROMETHEUS_CASES)
def test_a_collection_fails_and_changes_nothing_where_prometheus(
    there: CommandLine, case: str
) -> None:
    answer, why = PROMETHEUS_CASES[case]
    before = everything(there)

    with scripted_server(answer) as server:
        there.file("other.toml", configuration(cluster("small", server.url)))
        error = there.run("collect", *SPAN).failed(why)

    assert server.url in error
    assert "\n" not in error
    assert everything(there) == before


def test_names_that_are_no_utf_8_are_repaired_and_a_family_lost_by_it_is_rejected(
    there: CommandLine,
) -> None:
    before = everything(there)

    with scripted_server(then(Reply(body=b'{"status":"success","data":["\xff"]}'))) as server:
        there.file("other.toml", configuration(cluster("small", server.url)))
        there.run("collect", *SPAN).failed("was rejected")

    assert everything(there) == before


def test_a_collection_fails_where_nobody_listens(there: CommandLine) -> None:
    before = everything(there)
    there.file("other.toml", configuration(cluster("small", f"http://127.0.0.1:{free_port()}")))

    error = there.run("collect", *SPAN).failed("Connection refused", "Check that the address")

    assert "Max retries" not in error
    assert everything(there) == before


def test_a_collection_fails_at_a_name_that_nobody_has(there: CommandLine) -> None:
    there.file("other.toml", configuration(cluster("small", "http://prometheus.invalid:9090")))

    there.run("collect", *SPAN).failed("http://prometheus.invalid:9090 could not be asked")


def test_the_errors_of_families_make_the_hour_partial_and_are_named(there: CommandLine) -> None:
    refusal = json_reply({"status": "error", "errorType": "bad_data", "error": "no such"}, 400)

    def answer(request: Request) -> Reply:
        if request.path.endswith("/buildinfo"):
            return VERSION
        return refusal if request.path.endswith("/query") else json_reply(NAMES)

    with scripted_server(answer) as server:
        there.file("other.toml", configuration(cluster("refusing", server.url)))
        ended = there.run("collect", *SPAN).done()

    assert "1 partial" in ended.out
    assert "Note: refusing: partial gr_engine_active: " in ended.err
    assert "HTTP 400, no such" in ended.err
    costs = there.run("costs", *SPAN, "--filter", "cluster=refusing").done()
    assert "1 hours are partial: a source answered incompletely" in costs.err


KUBERNETES_CASES: dict[str, tuple[Answer, str]] = {
    "fails": (always(Reply(status=500, body=b"etcd is gone")), "HTTP 500, etcd is gone"),
    "fails behind a proxy": (always(Reply(status=502, body=PAGE)), "HTTP 502"),
    "wants a login": (
        always(json_reply({"kind": "Status", "message": "Unauthorized"}, 401)),
        "HTTP 401, Unauthorized",
    ),
    "wants other rights": (
        always(json_reply({"kind": "Status", "message": "nodes is forbidden"}, 403)),
        "HTTP 403, nodes is forbidden",
    ),
    "is a login page": (always(Reply(body=PAGE)), "it is not JSON"),
    "sends to a login page": (moved, "it is not JSON"),
    "cuts its body": (always(Reply(body=b'{"items":[', missing=500)), "cut short"),
    "cuts its JSON": (always(Reply(body=b'{"items":[')), "it is not JSON"),
    "says a number": (always(Reply(body=b"7")), "it is no object"),
    "has items that are none": (always(json_reply({"items": 7})), "no list of objects"),
    "has items that are no objects": (always(json_reply({"items": [7]})), "no list of objects"),
    "has a node without a name": (always(json_reply({"items": [{"metadata": {}}]})), "no UID or"),
    "never has its list": (
        always(json_reply({"kind": "Status", "message": "too old", "code": 410}, 410)),
        "let a list expire",
    ),
}


@pytest.mark.parametrize("case", KUBERNETES_CASES)
def test_a_watch_fails_and_changes_nothing_where_kubernetes(there: CommandLine, case: str) -> None:
    answer, why = KUBERNETES_CASES[case]
    before = everything(there)

    with scripted_server(answer) as server:
        access = f'{{ mode = "url", url = "{server.url}" }}'
        there.file("other.toml", configuration(cluster("small", server.url, access)))
        error = there.run("watch").failed(why)

    assert server.url in error or "of the Kubernetes API" in error
    assert everything(there) == before


def test_a_watch_fails_where_nobody_listens(there: CommandLine) -> None:
    access = f'{{ mode = "url", url = "http://127.0.0.1:{free_port()}" }}'
    there.file("other.toml", configuration(cluster("small", "http://127.0.0.1:9", access)))

    error = there.run("watch").failed("Connection refused", "Check the address")

    assert "Max retries" not in error


def test_several_clusters_are_collected_although_one_fails(there: CommandLine) -> None:
    good = there.folder.joinpath("gpuledger.toml").read_text().split('url = "')[1].split('"')[0]
    nobody = f"http://127.0.0.1:{free_port()}"
    there.file("other.toml", configuration(cluster("dead", nobody), cluster("alive", good)))

    ended = there.run("collect", *SPAN)

    assert ended.code == 1
    assert ended.out.startswith("alive: 1 hours, 1 changed")
    assert f"gpuledger: {nobody} could not be asked" in ended.err
