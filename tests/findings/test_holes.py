"""Holes: notes and figures as named rows, the worst first."""

import pandas as pd
import pytest

from app.findings.advice import Weight
from app.findings.coverage import coverage_rows
from app.findings.holes import NOTE_EVIDENCE, Hole, Hours, Samples, holes_of
from tests.findings.covering import a_time, service_evidence, time_evidence

HOUR_MS = 3_600_000


def notes(*rows: tuple[str, str, int]) -> pd.DataFrame:
    """Return notes of kind, subject and quantity, each of two hours."""
    told = [
        ("prod-eu", kind, subject, "So it is.", quantity, 2, 0) for kind, subject, quantity in rows
    ]
    columns = ["cluster", "kind", "subject", "detail", "quantity", "hours", "others"]
    dtypes = {name: str(column.dtype) for name, column in NOTE_EVIDENCE.columns.items()}
    return pd.DataFrame(told, columns=columns).astype(dtypes)


def found(frame: pd.DataFrame) -> tuple[Hole, ...]:
    return holes_of(frame, [], [], [])


def test_a_note_is_a_hole_of_its_namespace() -> None:
    holes = found(
        notes(
            ("unowned", "sandbox", 5),
            ("counter_carried", "search/ranker-0 prompt_tokens", 7),
            ("watch_gap", "prod-eu", 60_000),
            ("unseen_engine", "chat/engine-0", 2),
        )
    )

    assert [(hole.kind, hole.namespace, hole.hours) for hole in holes] == [
        ("unowned", "sandbox", 2),
        ("unseen_engine", "chat", 2),
        ("watch_gap", "", 2),
        ("counter_carried", "search", 2),
    ]
    assert holes[-1].advice.weight is Weight.DOUBTFUL


def test_subjects_that_are_left_out_are_counted() -> None:
    (hole,) = found(notes(("unpriced", "gpu-1 H100", 5)).assign(others=30))

    assert hole.detail == "So it is. And 30 more like it."


@pytest.mark.parametrize(("seen", "is_hole"), [(94, True), (95, False), (100, False)])
def test_one_sample_in_twenty_may_be_lost(seen: int, *, is_hole: bool) -> None:
    samples = Samples(
        cluster="prod-eu", source="prometheus", family="activity", expected=100, seen=seen
    )

    assert [hole.quantity for hole in holes_of(notes(), [], [], [samples])] == (
        [100 - seen] if is_hole else []
    )


def test_a_counter_of_a_pod_that_went_loses_no_sample() -> None:
    samples = Samples(
        cluster="prod-eu", source="prometheus", family="prompt_tokens", expected=120, seen=20
    )

    assert holes_of(notes(), [], [], [samples]) == ()


def test_hours_that_lack_are_partial_or_unrated_are_three_holes() -> None:
    hours = Hours(cluster="prod-eu", expected=24, missing=3, partial=2, unrated=1)
    whole = Hours(cluster="prod-us", expected=24, missing=0, partial=0, unrated=0)

    holes = holes_of(notes(), [], [hours, whole], [])

    assert {(hole.kind, hole.quantity) for hole in holes} == {
        ("missing_hours", 3),
        ("partial_hours", 2),
        ("unrated_hours", 1),
    }
    assert {hole.cluster for hole in holes} == {"prod-eu"}


def test_figures_that_are_not_known_are_holes_with_their_time() -> None:
    rows = coverage_rows(
        time_evidence(
            [
                a_time(namespace="chat", used_ms=6 * HOUR_MS, unmeasured_ms=2 * HOUR_MS),
                a_time(namespace="", team="platform", unobserved_ms=HOUR_MS),
            ]
        ),
        service_evidence(
            [
                {
                    "cluster": "prod-eu",
                    "namespace": "chat",
                    "service": "llama",
                    "used_ms": 6 * HOUR_MS,
                    "tokens_ms": 5 * HOUR_MS,
                    "quiet_ms": 2 * HOUR_MS,
                    "latency_ms": HOUR_MS,
                    "starts_ms": 6 * HOUR_MS,
                }
            ]
        ),
    )

    holes = holes_of(notes(), rows, [], [], [("prod-eu", "chat", "llama", HOUR_MS)])

    assert {(hole.kind, hole.namespace, hole.subject, hole.quantity) for hole in holes} == {
        ("unobserved", "", "prod-eu", HOUR_MS),
        ("unmeasured", "chat", "chat", 2 * HOUR_MS),
        ("tokens_unknown", "chat", "llama", HOUR_MS),
        ("latency_unknown", "chat", "llama", 3 * HOUR_MS),
        ("tokens_in_part", "chat", "llama", HOUR_MS),
    }


def test_what_is_whole_has_no_hole() -> None:
    rows = coverage_rows(time_evidence([a_time(used_ms=HOUR_MS)]), service_evidence([]))

    assert holes_of(notes(), rows, [], [], [("prod-eu", "chat", "llama", 0)]) == ()
