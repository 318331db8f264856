"""A server whose data end before the window does."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from app.sources.asking import Inquiry, Report
from app.sources.catalogue import load_catalogue
from app.sources.freshness import FAMILY, record_freshness
from app.sources.prometheus import PrometheusSettings, PrometheusSource
from app.units.window import Window, from_ms
from app.usage.samples import COUNTER_LABELS, SampleSet, no_samples
from tests.sources.scripted_server import Reply, Request, json_reply, scripted_server

START_MS = 1_793_617_200_000
MINUTE_MS = 60_000
WINDOW = Window(from_ms(START_MS), from_ms(START_MS) + timedelta(hours=1))
SCRAPE_MS = 30_000


def samples_until(minute: int) -> SampleSet:
    at_ms = np.arange(START_MS, START_MS + minute * MINUTE_MS, SCRAPE_MS, dtype=np.int64)
    labels = pd.DataFrame({name: pd.Series(["x"], dtype="str") for name in COUNTER_LABELS})
    first = np.array([0, len(at_ms)], dtype=np.int64)
    return SampleSet(labels, first, at_ms, np.ones(len(at_ms)))


def recorded(
    *families: SampleSet, alive_until: int = 60, names: tuple[str, ...] = ("up",)
) -> tuple[Report, list[str]]:
    """Record against a server whose own series end at a minute; return what it was asked too."""

    def answer(request: Request) -> Reply:
        if request.path.endswith("buildinfo"):
            return json_reply({"status": "success", "data": {"version": "2.42.0", "revision": "r"}})
        at = [[(START_MS + minute * MINUTE_MS) / 1000, "1"] for minute in range(55, alive_until)]
        result = [{"metric": {"__name__": "up"}, "values": at}] if at else []
        data = {"resultType": "matrix", "result": result}
        return json_reply({"status": "success", "data": data})

    report = Report()
    with scripted_server(answer) as server:
        source = PrometheusSource(PrometheusSettings(url=server.url))
        inquiry = Inquiry(
            source=source,
            exporter=load_catalogue().dcgm,
            names=frozenset(names),
            window=WINDOW,
            scrape_ms=SCRAPE_MS,
            report=report,
        )
        record_freshness(inquiry, families)
    return report, [request.form["query"] for request in server.asked if request.form]


def seen_of(report: Report) -> tuple[int, int]:
    (row,) = (row for row in report.evidence if row.family == FAMILY)
    return row.expected, row.seen


def test_data_that_reach_the_end_are_ten_scrapes_and_no_question() -> None:
    report, asked = recorded(samples_until(60), no_samples(COUNTER_LABELS))

    assert seen_of(report) == (10, 10)
    assert (report.notes, report.partial, asked) == ([], False, [])


@pytest.mark.parametrize(("minute", "seen"), [(58, 6), (56, 2)])
def test_a_few_minutes_that_lack_show_in_the_evidence(minute: int, seen: int) -> None:
    report, _ = recorded(samples_until(minute))

    assert seen_of(report) == (10, seen)
    assert not report.partial


def test_a_server_that_lags_is_partial_and_says_by_how_much() -> None:
    report, asked = recorded(samples_until(40), samples_until(30), alive_until=0)

    assert seen_of(report) == (10, 0)
    assert report.partial
    assert asked == ["up[300000ms]"]
    kinds = {note.kind: note for note in report.notes}
    assert set(kinds) == {"data_end_early", "partial"}
    assert kinds["data_end_early"].quantity == 20 * MINUTE_MS + SCRAPE_MS
    assert "20 minutes before the end" in kinds["partial"].detail


def test_a_cluster_that_ended_under_a_living_server_is_no_lag() -> None:
    report, asked = recorded(samples_until(40))

    assert seen_of(report) == (10, 0)
    assert (report.notes, report.partial, len(asked)) == ([], False, 1)


def test_without_series_of_its_own_a_server_is_only_doubted() -> None:
    report, asked = recorded(samples_until(40), names=())

    assert seen_of(report) == (10, 0)
    assert [note.kind for note in report.notes] == ["data_end_early"]
    assert (report.partial, asked) == (False, [])


def test_a_window_without_any_sample_expects_none_at_its_end() -> None:
    report, asked = recorded(no_samples(COUNTER_LABELS))

    assert seen_of(report) == (0, 0)
    assert (report.notes, report.partial, asked) == ([], False, [])
