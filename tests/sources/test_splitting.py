"""Questions that a server refuses at once and answers in pieces."""

import json
import re
import threading

import pytest

from app.sources.prometheus import PrometheusSettings, PrometheusSource, PrometheusUnreachable
from app.sources.promql import EVER_TRUE, RAW_SAMPLES, Selector
from app.sources.splitting import gather, gather_all
from tests.sources.scripted_server import Reply, Request, json_reply, scripted_server

START_MS = 1_793_617_200_000
HOUR_MS = 3_600_000
STEP_MS = 30_000
PODS = tuple(f"pod-{number}" for number in range(7))


class SmallServer:
    """Answers raw samples of seven pods, but never more than a limit at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.refusals = 0

    def __call__(self, request: Request) -> Reply:
        if request.path.endswith("buildinfo"):
            return json_reply({"status": "success", "data": {"version": "2", "revision": "r"}})
        if request.path.endswith("/label/pod/values"):
            return json_reply({"status": "success", "data": self._pods(request.form["match[]"])})
        if request.path.endswith("/values"):
            return json_reply({"status": "success", "data": []})
        at_ms = round(float(request.form["time"]) * 1000)
        query = request.form["query"]
        (length,) = re.findall(r"\[(\d+)ms\]", query)
        instants = [
            at
            for at in range(START_MS, START_MS + HOUR_MS, STEP_MS)
            if at_ms - int(length) <= at <= at_ms
        ]
        pods = self._pods(query)
        if len(pods) * len(instants) > self._limit:
            self.refusals += 1
            text = "query processing would load too many samples into memory in query execution"
            return json_reply({"status": "error", "errorType": "execution", "error": text}, 422)
        result = [
            {"metric": {"pod": pod}, "values": [[at / 1000, str(at % 997)] for at in instants]}
            for pod in pods
        ]
        if query.startswith("max_over_time"):
            result = [{"metric": {"pod": pod}, "value": [at_ms / 1000, "1"]} for pod in pods]
        return json_reply({"status": "success", "data": {"resultType": "matrix", "result": result}})

    def _pods(self, selector: str) -> list[str]:
        kept = list(PODS)
        for operator, value in re.findall(r'pod(=~|!~|=|!=)"([^"]*)"', selector):
            named = set(value.replace("\\\\", "").split("|"))
            wanted = operator in {"=", "=~"}
            kept = [pod for pod in kept if (pod in named) == wanted]
        return kept


def a_source(url: str) -> PrometheusSource:
    return PrometheusSource(PrometheusSettings(url=url, attempts=1, retry_wait_seconds=0.0))


@pytest.mark.parametrize("limit", [10_000, 300, 60, 3])
def test_what_is_refused_at_once_is_the_same_in_pieces(limit: int) -> None:
    small = SmallServer(limit)
    query = RAW_SAMPLES.over(Selector("x"), START_MS, START_MS + HOUR_MS)
    with scripted_server(small) as server:
        found = gather(a_source(server.url), query)

    order = sorted(range(len(PODS)), key=lambda row: found.matrix.labels[row]["pod"])
    assert found.trouble == ""
    assert [found.matrix.labels[row]["pod"] for row in order] == list(PODS)
    assert found.matrix.first.tolist() == [120 * number for number in range(len(PODS) + 1)]
    assert found.matrix.at_ms[:120].tolist() == list(range(START_MS, START_MS + HOUR_MS, STEP_MS))
    assert (small.refusals > 0) == (limit < 840)


def test_a_function_over_time_is_cut_by_labels_only() -> None:
    query = EVER_TRUE.over(Selector("x"), START_MS, START_MS + HOUR_MS)
    with scripted_server(SmallServer(120)) as server:
        found = gather(a_source(server.url), query)

    assert found.trouble == ""
    assert sorted(labels["pod"] for labels in found.matrix.labels) == list(PODS)
    lengths = {
        re.findall(r"\[(\d+)ms\]", one.form.get("query", "[0ms]"))[0] for one in server.asked
    }
    assert lengths <= {"0", str(HOUR_MS)}


def test_what_cannot_be_cut_any_more_is_trouble_and_no_exception() -> None:
    query = RAW_SAMPLES.over(Selector("x"), START_MS, START_MS + HOUR_MS)
    with scripted_server(SmallServer(0)) as server:
        found = gather(a_source(server.url), query)

    assert "too many samples" in found.trouble
    assert found.matrix.labels == []


def test_rubbish_and_warnings_are_the_trouble_of_their_question_alone() -> None:
    def answer(request: Request) -> Reply:
        if request.path.endswith("buildinfo"):
            return json_reply({"status": "success", "data": {"version": "2", "revision": "r"}})
        query = request.form["query"]
        if query.startswith("broken"):
            return Reply(body=b"{")
        extra = {"warnings": ["store down"]} if query.startswith("warned") else {}
        point = [START_MS / 1000, "1"]
        result = [{"metric": {"pod": "a"}, "values": [point]}]
        data = {"resultType": "matrix", "result": result}
        return json_reply({"status": "success", "data": data, **extra})

    questions = [
        (RAW_SAMPLES.over(Selector(name), START_MS, START_MS + HOUR_MS),)
        for name in ("broken", "warned", "fine")
    ]
    with scripted_server(answer) as server:
        broken, warned, fine = gather_all(a_source(server.url), questions)

    assert "not JSON" in broken.trouble
    assert (warned.trouble, len(warned.matrix.at_ms)) == ("store down", 1)
    assert (fine.trouble, len(fine.matrix.at_ms)) == ("", 1)


def test_a_server_that_goes_away_raises() -> None:
    query = RAW_SAMPLES.over(Selector("x"), START_MS, START_MS + HOUR_MS)
    with scripted_server(SmallServer(10_000)) as server:
        source = a_source(server.url)
        gather(source, query)

    with pytest.raises(PrometheusUnreachable):
        gather(source, query)


def test_the_next_question_is_asked_while_an_answer_is_read_and_no_further() -> None:
    asked: list[str] = []
    second = threading.Event()

    def answer(request: Request) -> Reply:
        if request.path.endswith("buildinfo"):
            return json_reply({"status": "success", "data": {"version": "2", "revision": "r"}})
        asked.append(request.form["query"])
        if len(asked) == 2:
            second.set()
        data = {"resultType": "matrix", "result": []}
        return Reply(body=json.dumps({"status": "success", "data": data}).encode())

    questions = [
        (RAW_SAMPLES.over(Selector(name), 0, 1),) for name in ("one", "two", "three", "four")
    ]
    with scripted_server(answer) as server:
        answers = gather_all(a_source(server.url), questions)
        next(answers)

        assert second.wait(timeout=5.0)
        assert asked == ["one[1ms]", "two[1ms]"]

        rest = list(answers)

    assert len(rest) == 3
    assert len(asked) == 4
