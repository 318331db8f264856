"""Answers that are not what the API promises, and labels that are no proper text."""

import gzip
import json
import math
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sources.documents import (
    LONGEST_LABEL,
    NotADocument,
    label_in_path,
    read_document,
    repair_labels,
)
from app.sources.prometheus import (
    PrometheusAnswerBroken,
    PrometheusSettings,
    PrometheusSource,
    PrometheusUnreachable,
)
from app.sources.promql import RAW_SAMPLES, Dialect, Selector
from app.sources.splitting import Gathered, gather
from tests.sources.scripted_server import Reply, json_reply, scripted_server

START_MS = 1_793_617_200_000
QUERY = RAW_SAMPLES.over(Selector("x"), START_MS, START_MS + 3_600_000)
AT = START_MS / 1000


def a_body(*rows: object) -> bytes:
    data = {"resultType": "matrix", "result": rows}
    return json.dumps({"status": "success", "data": data}).encode()


def a_row(*points: object, **labels: object) -> dict[str, object]:
    return {"metric": labels, "values": points}


def gathered(reply: Reply) -> Gathered:
    with scripted_server(lambda _: reply) as server:
        return gather(a_source(server.url), QUERY)


def a_source(url: str, attempts: int = 1) -> PrometheusSource:
    settings = PrometheusSettings(
        url=url, attempts=attempts, retry_wait_seconds=0.0, timeout_seconds=5.0
    )
    return PrometheusSource(settings)


def test_a_login_page_with_status_200_is_named_as_one() -> None:
    page = Reply(200, b"\n<!doctype html><title>Sign in</title>", headers=(_type("text/html"),))

    with (
        scripted_server(lambda _: page) as server,
        pytest.raises(PrometheusAnswerBroken, match="web page, perhaps a login"),
    ):
        a_source(server.url).query("up", START_MS)


def _type(kind: str) -> tuple[str, str]:
    return "Content-Type", kind


def test_the_type_of_the_content_does_not_matter_if_it_is_json() -> None:
    body = a_body(a_row([AT, "1"], pod="a"))

    assert gathered(Reply(200, body, headers=(_type("text/plain"),))).matrix.value.tolist() == [1.0]


def test_a_body_that_is_compressed_unasked_is_read() -> None:
    body = gzip.compress(a_body(a_row([AT, "1"], pod="a")))

    found = gathered(Reply(200, body, headers=(("Content-Encoding", "gzip"),)))

    assert found.trouble == ""
    assert found.matrix.value.tolist() == [1.0]


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(a_body(a_row([AT, "1"], pod="a")))[:-20],
        b"\x1f\x8b\x08\x00 this is no stream of gzip",
        a_body(a_row([AT, "1"], pod="a")),
    ],
)
def test_a_body_that_is_not_compressed_as_it_says_is_broken(body: bytes) -> None:
    found = gathered(Reply(200, body, headers=(("Content-Encoding", "gzip"),)))

    assert "cannot be read" in found.trouble
    assert found.matrix.labels == []


def test_chunks_that_end_too_early_are_asked_for_again_and_then_broken() -> None:
    cut = Reply(lines=(b'{"status":"success",', b'"data":{'), breaks=True)
    with scripted_server(lambda _: cut) as server:
        found = gather(a_source(server.url, attempts=3), QUERY)

    assert "it was cut short" in found.trouble
    # The build information, which tells nothing here, and the query: three attempts each.
    assert len(server.asked) == 6


@pytest.mark.parametrize(
    "row",
    [
        {"metric": {"pod": "a"}},
        {"metric": {"pod": "a"}, "values": [[AT, "one"]]},
        {"metric": {"pod": "a"}, "values": [[AT]]},
        {"metric": {"pod": "a"}, "values": [[AT, "1", "2"]]},
        {"metric": {"pod": "a"}, "values": [[AT, None]]},
        {"metric": {"pod": 7}, "values": [[AT, "1"]]},
        {"metric": None, "values": [[AT, "1"]]},
        {"values": [[AT, "1"]]},
        {"metric": {"pod": "a"}, "histograms": [[AT, {"count": "x", "sum": "1"}]]},
        {"metric": {"pod": "a"}, "histograms": [[AT, {"sum": "1"}]]},
        "text",
        None,
    ],
)
def test_a_series_of_another_shape_is_trouble_and_no_exception(row: object) -> None:
    found = gathered(Reply(200, a_body(row)))

    assert "cannot be read" in found.trouble
    assert len(found.matrix.at_ms) == 0


def test_values_that_are_no_numbers_arrive_as_such() -> None:
    row = a_row([AT, "NaN"], [AT + 1, "+Inf"], [AT + 2, "-Inf"], [AT + 3, "1e+011"], pod="a")

    value = gathered(Reply(200, a_body(row))).matrix.value.tolist()

    assert math.isnan(value[0])
    assert value[1:] == [math.inf, -math.inf, 1e11]


def test_a_series_that_comes_twice_in_an_answer_keeps_its_samples() -> None:
    rows = a_row([AT, "1"], pod="a"), a_row([AT, "1"], [AT + 30, "2"], pod="a")

    found = gathered(Reply(200, a_body(*rows)))

    assert found.trouble == ""
    assert {(labels["pod"]) for labels in found.matrix.labels} == {"a"}


def test_labels_that_are_not_utf8_are_read_with_replacement_characters() -> None:
    body = a_body(a_row([AT, "1"], pod="XY")).replace(b"XY", b"caf\xe9")

    found = gathered(Reply(200, body))

    assert found.trouble == ""
    assert found.matrix.labels == [{"pod": "caf�"}]
    assert found.matrix.value.tolist() == [1.0]


def test_halves_of_pairs_and_nul_become_replacement_characters() -> None:
    body = a_body(a_row([AT, "1"], pod="XY", node="n\x00")).replace(b"XY", b"a\\ud800b")

    found = gathered(Reply(200, body))

    assert found.matrix.labels == [{"pod": "a�b", "node": "n�"}]
    assert found.repaired == 2


def test_long_labels_are_cut_and_stay_different() -> None:
    long = "m" * 5_000
    rows = [a_row([AT, "1"], pod=long + end) for end in ("a", "b")]

    found = gathered(Reply(200, a_body(*rows)))

    values = {labels["pod"] for labels in found.matrix.labels}
    assert len(values) == 2
    assert all(len(value) <= LONGEST_LABEL and value.startswith("mmm") for value in values)
    assert found.repaired == 2


@given(text=st.text(max_size=LONGEST_LABEL))
def test_what_can_be_stored_is_left_alone(text: str) -> None:
    rows: list[object] = [{"metric": {"pod": text}}]

    repaired = repair_labels(rows)

    stored = text.replace("\x00", "�")
    assert rows == [{"metric": {"pod": stored}}]
    assert repaired == (stored != text or "�" in text)


@given(body=st.binary(max_size=40))
def test_no_bytes_are_read_as_anything_but_an_object(body: bytes) -> None:
    try:
        document = read_document(body)
    except NotADocument:
        return
    assert isinstance(document, dict)


@pytest.mark.parametrize(
    ("label", "path"),
    [
        ("pod", "pod"),
        ("__name__", "__name__"),
        ("http.status_code", "U__http_2e_status__code"),
        ("k8s.pod.name", "U__k8s_2e_pod_2e_name"),
        ("größe", "U__gr_f6__df_e"),
    ],
)
def test_label_names_in_a_path_are_escaped_as_prometheus_documents(label: str, path: str) -> None:
    assert label_in_path(label, Dialect.QUOTED) == path
    assert unquote(label_in_path(label, Dialect.BACKSLASHED)) == label


def test_a_server_that_answers_nothing_but_errors_is_unreachable_once() -> None:
    with (
        scripted_server(lambda _: Reply(502, b"<html>Bad Gateway</html>")) as server,
        pytest.raises(PrometheusUnreachable, match="HTTP 502"),
    ):
        a_source(server.url, attempts=2).query("up", START_MS)

    assert server.paths() == ["/api/v1/status/buildinfo"] * 2


def test_without_build_information_the_query_is_still_asked() -> None:
    data = {"resultType": "matrix", "result": []}
    found = json_reply({"status": "success", "data": data})
    with scripted_server(
        lambda request: Reply(501) if request.path.endswith("buildinfo") else found
    ) as server:
        answer = a_source(server.url).query("up", START_MS)

    assert answer.result == []
    assert server.asked[-1].form["partial_response"] == "false"
