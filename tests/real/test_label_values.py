"""Conditions on labels as both real servers read them: odd characters, long values, many values."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta

import pytest

from app.sources.prometheus import PrometheusSettings, PrometheusSource
from app.sources.promql import RAW_SAMPLES, Matcher, Operator, Selector, any_of, before, none_of
from app.sources.splitting import gather
from app.units.window import Window, from_ms
from tests.real.prometheus import backfill, running_prometheus
from tests.real.victoria_metrics import running_victoria_metrics

# 2026-11-02T10:00:00Z.
START_MS = 1_793_613_600_000
WINDOW = Window(from_ms(START_MS), from_ms(START_MS) + timedelta(hours=1))
ODD = (
    'say "hi"',
    "back\\slash",
    "end\nof line",
    "dots.and|bars(){}[]*+?^$",
    "größe 日本",
    "x" * 3_000,
)
PODS = tuple(f"a-rather-long-name-of-a-deployment-{number * 7919:05x}" for number in range(120))
# Series to a question: fewer than there are pods.
LIMIT = 40


def escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


@pytest.fixture(scope="module", params=["prometheus", "victoria-metrics"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("labels")
    at = f"{START_MS // 1000 + 30}.000"
    lines = [
        "# TYPE odd unknown",
        *(f'odd{{model="{escaped(value)}"}} {number} {at}' for number, value in enumerate(ODD)),
        "# TYPE many unknown",
        *(f'many{{pod="{pod}"}} {number} {at}' for number, pod in enumerate(PODS)),
        "# EOF\n",
    ]
    history = folder / "labels.om"
    history.write_text("\n".join(lines), encoding="utf-8")
    with ExitStack() as servers:
        if request.param == "prometheus":
            backfill(history, folder / "data")
            flags = [f"--query.max-samples={LIMIT}"]
            yield servers.enter_context(running_prometheus(folder / "data", flags=flags)).url
        else:
            flags = [f"-search.maxUniqueTimeseries={LIMIT}"]
            server = servers.enter_context(running_victoria_metrics(folder / "data", flags=flags))
            server.load(history)
            yield server.url


def chosen(url: str, metric: str, matcher: Matcher) -> set[str]:
    """Return the values of the matcher's label in what a server answers."""
    source = PrometheusSource(PrometheusSettings(url=url))
    selector = Selector(metric, (matcher,))
    found = gather(source, RAW_SAMPLES.over(selector, WINDOW.start_ms, WINDOW.end_ms))
    assert found.trouble == ""
    return {labels[matcher.label] for labels in found.matrix.labels}


@pytest.mark.parametrize("value", ODD[:-1])
def test_a_value_of_any_characters_is_found_alone_and_among_others(url: str, value: str) -> None:
    assert chosen(url, "odd", Matcher("model", Operator.EQUAL, value)) == {value}
    assert chosen(url, "odd", any_of("model", (value, "another"))) == {value}
    others = chosen(url, "odd", none_of("model", (value, "another")))
    assert value not in others
    assert len(others) == len(ODD) - 1


def test_a_value_that_is_too_long_is_cut_by_us_and_found_by_its_own(url: str) -> None:
    (found,) = chosen(url, "odd", Matcher("model", Operator.EQUAL, ODD[-1]))

    assert found.startswith("x" * 400)
    assert len(found) < 600


def test_more_long_names_than_the_server_answers_at_once_come_in_pieces(url: str) -> None:
    source = PrometheusSource(PrometheusSettings(url=url))

    found = gather(source, RAW_SAMPLES.over(Selector("many"), WINDOW.start_ms, WINDOW.end_ms))

    assert found.trouble == ""
    assert {labels["pod"] for labels in found.matrix.labels} == set(PODS)
    assert sorted(found.matrix.value.tolist()) == [float(number) for number in range(len(PODS))]


def test_names_before_another_are_told_by_their_beginnings(url: str) -> None:
    pods = sorted(PODS)
    inside, outside = before("pod", pods, pods[30])

    assert chosen(url, "many", inside) == set(pods[:30])
    assert chosen(url, "many", outside) == set(pods[30:])
