"""Harvests from servers whose answers repeat themselves or whose labels are no proper text."""

import json
from datetime import timedelta

import pytest

from app.sources.catalogue import load_catalogue
from app.sources.harvest import Harvest, harvest
from app.sources.prometheus import PrometheusAnswerBroken, PrometheusSettings, PrometheusSource
from app.units.window import HOUR_MS, Window, from_ms
from app.usage.growth import growth
from tests.sources.scripted_server import Reply, Request, json_reply, scripted_server

START_MS = 1_793_617_200_000
WINDOW = Window(from_ms(START_MS), from_ms(START_MS) + timedelta(hours=1))
SCRAPE_MS = 30_000
NAME = "vllm:generation_tokens_total"
REPLICA = {
    "__name__": NAME,
    "namespace": "chat",
    "pod": "a",
    "job": "vllm",
    "instance": "10.0.0.1:8000",
    "engine": "0",
    "model_name": "m",
}


def answering(*series: dict[str, str]) -> Harvest:
    """Harvest counters that grow by 10 a scrape, from a server with nothing else."""

    def answer(request: Request) -> Reply:
        if request.path.endswith("/buildinfo"):
            return json_reply({"status": "success", "data": {"version": "2.42.0", "revision": "r"}})
        if request.path.endswith("/label/__name__/values"):
            return json_reply({"status": "success", "data": [NAME]})
        values = [
            [at_ms / 1000, str(10 * number)]
            for number, at_ms in enumerate(range(START_MS - 60_000, WINDOW.end_ms, SCRAPE_MS))
        ]
        rows = [{"metric": labels, "values": values} for labels in series]
        asked = request.form.get("query", "").startswith(NAME)
        data = {"resultType": "matrix", "result": rows if asked else []}
        body = json.dumps({"status": "success", "data": data}).encode()
        return Reply(200, body.replace(b"caf!", b"caf\xe9"))

    with scripted_server(answer) as server:
        source = PrometheusSource(PrometheusSettings(url=server.url))
        return harvest(source, load_catalogue(), WINDOW, scrape_ms=SCRAPE_MS)


def grown(found: Harvest) -> list[tuple[str, int]]:
    rows = growth(WINDOW, found.counters, found.births, SCRAPE_MS, 24 * HOUR_MS)
    return list(zip(rows["model"].tolist(), rows["growth"].tolist(), strict=True))


def test_a_series_that_an_answer_has_twice_counts_once() -> None:
    assert grown(answering(REPLICA)) == [("m", 1200)]
    assert grown(answering(REPLICA, dict(REPLICA))) == [("m", 1200)]


def test_a_model_whose_name_is_not_utf8_is_counted_and_noted() -> None:
    found = answering({**REPLICA, "model_name": "caf!"})

    assert grown(found) == [("caf�", 1200)]
    assert "label_repaired" in set(found.notes["kind"])


def test_a_model_of_an_endless_name_is_counted_under_a_shorter_one() -> None:
    found = answering({**REPLICA, "model_name": "m" * 10_000})

    ((model, tokens),) = grown(found)
    assert tokens == 1200
    assert len(model) < 600
    repaired = found.notes[found.notes["kind"] == "label_repaired"]
    assert repaired["subject"].tolist() == [NAME]


def test_a_server_that_answers_everything_with_a_login_page_is_no_empty_hour() -> None:
    page = Reply(200, b"<html>Sign in</html>")
    with scripted_server(lambda _: page) as server:
        source = PrometheusSource(PrometheusSettings(url=server.url, attempts=1))

        with pytest.raises(PrometheusAnswerBroken, match="perhaps a login"):
            harvest(source, load_catalogue(), WINDOW, scrape_ms=SCRAPE_MS)
