"""Metrics and labels with the names that OpenTelemetry gives them, dots and all."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pandas as pd
import pytest

from app.sources.asking import Answered, Inquiry, Report, Span, answers
from app.sources.catalogue import Alias, Exporter, Layer, Meaning, MetricType
from app.sources.naming import narrowed_to
from app.sources.prometheus import PrometheusSettings, PrometheusSource
from app.sources.promql import RAW_SAMPLES
from app.units.window import Window, from_ms
from tests.sources.scripted_server import (
    Reply,
    Request,
    ScriptedServer,
    json_reply,
    scripted_server,
)

START_MS = 1_793_617_200_000
WINDOW = Window(from_ms(START_MS), from_ms(START_MS) + timedelta(hours=1))
NAMES = ("gen_ai.client.token.usage_sum", "vllm:prompt_tokens_total", "größe")
OTEL = Exporter(
    name="otel",
    layer=Layer.ENGINE,
    labels=(
        ("model", ("gen_ai.request.model",)),
        ("pod", ("k8s.pod.name",)),
        ("namespace", ("k8s.namespace.name",)),
        ("target", ("service.instance.id",)),
    ),
    meanings=(
        Meaning(
            name="generation_tokens",
            type=MetricType.COUNTER,
            unit="tokens",
            reason="A name with dots.",
            aliases=(
                Alias(
                    name="gen_ai.client.token.usage_sum",
                    where=(("gen_ai.token.type", ("output", "completion")),),
                ),
            ),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Asked:
    server: ScriptedServer
    inquiry: Inquiry

    def answers(self, pods: tuple[str, ...] = ()) -> list[Answered]:
        span = Span(start_ms=START_MS, end_ms=WINDOW.end_ms)
        asks = self.inquiry.asks("generation_tokens", RAW_SAMPLES, span)
        found = list(answers(self.inquiry.source, asks, self.inquiry.report))
        if not pods:
            return found
        (matchers,) = narrowed_to(OTEL, found[0].samples.labels)
        narrow = self.inquiry.asks("generation_tokens", RAW_SAMPLES, span, matchers=matchers)
        return list(answers(self.inquiry.source, narrow, self.inquiry.report))

    def queries(self) -> list[str]:
        return [request.form["query"] for request in self.server.asked if "query" in request.form]


def serve(build: dict[str, str]) -> Iterator[Asked]:
    def answer(request: Request) -> Reply:
        if request.path.endswith("/buildinfo"):
            return json_reply({"status": "success", "data": build})
        if request.path.endswith("/label/__name__/values"):
            return json_reply({"status": "success", "data": NAMES})
        labels = {
            "__name__": NAMES[0],
            "k8s.pod.name": "pod.1",
            "k8s.namespace.name": "chat",
            "service.instance.id": "i-1",
            "gen_ai.request.model": "m",
            "gen_ai.token.type": "output",
        }
        result = [{"metric": labels, "values": [[START_MS / 1000 + 30, "7"]]}]
        data = {"resultType": "matrix", "result": result}
        return json_reply({"status": "success", "data": data})

    with scripted_server(answer) as server:
        source = PrometheusSource(PrometheusSettings(url=server.url))
        names = source.label_values("__name__", start_ms=START_MS, end_ms=WINDOW.end_ms)
        yield Asked(
            server,
            Inquiry(
                source=source,
                exporter=OTEL,
                names=frozenset(names),
                window=WINDOW,
                scrape_ms=30_000,
                report=Report(),
            ),
        )


@pytest.fixture
def prometheus() -> Iterator[Asked]:
    yield from serve({"version": "3.5.0", "revision": "r"})


@pytest.fixture
def victoria() -> Iterator[Asked]:
    yield from serve({"version": "2.24.0"})


def test_a_dotted_name_is_found_asked_for_and_read(prometheus: Asked) -> None:
    (answer,) = prometheus.answers()

    assert prometheus.queries() == [
        (
            '{__name__="gen_ai.client.token.usage_sum",'
            '"gen_ai.token.type"=~"output|completion"}[3600000ms]'
        )
    ]
    (row,) = answer.samples.labels.to_dict("records")
    assert (row["namespace"], row["pod"], row["model"]) == ("chat", "pod.1", "m")
    assert answer.samples.value.tolist() == [7.0]


def test_a_replica_is_named_by_its_dotted_label(prometheus: Asked) -> None:
    prometheus.answers(pods=("pod.1",))

    assert prometheus.queries()[-1] == (
        '{__name__="gen_ai.client.token.usage_sum",'
        '"gen_ai.token.type"=~"output|completion","k8s.pod.name"="pod.1"}[3600000ms]'
    )


def test_victoria_metrics_reads_dots_behind_backslashes(victoria: Asked) -> None:
    victoria.answers(pods=("pod.1",))

    (matched,) = re.findall(r"(k8s\S+)=\"pod", victoria.queries()[-1])
    assert matched == r"k8s\.pod\.name"


def test_very_long_names_are_asked_for_in_more_conditions(prometheus: Asked) -> None:
    (answer,) = prometheus.answers()
    (row,) = answer.samples.labels.to_dict("records")
    pods = [f"{number:03d}-{'x' * 240}" for number in range(100)]
    labels = pd.DataFrame([{**row, "pod": pod} for pod in pods]).astype("str")

    conditions = narrowed_to(OTEL, labels)

    named = [str(matcher) for (matcher,) in conditions]
    assert all(len(text) < 9_000 for text in named)
    assert sum(text.count("-" + "x" * 240) for text in named) == 100
