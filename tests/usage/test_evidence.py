import numpy as np
import pandas as pd

from app.usage import frames
from app.usage.evidence import (
    LostEvidence,
    evidence_frame,
    expected_samples,
    less_evidence,
    watch_evidence,
)

STORED = evidence_frame(
    [("prometheus", "activity", 120, 118), ("prometheus", "prompt_tokens", 120, 120)]
)


def test_equal_and_more_evidence_loses_nothing() -> None:
    more = evidence_frame(
        [("prometheus", "activity", 120, 120), ("prometheus", "prompt_tokens", 120, 120)]
    )

    assert less_evidence(STORED, STORED) == ()
    assert less_evidence(STORED, more) == ()


def test_one_sample_less_is_lost_evidence_whatever_was_expected() -> None:
    fresh = evidence_frame(
        [("prometheus", "activity", 117, 117), ("prometheus", "prompt_tokens", 120, 120)]
    )

    assert less_evidence(STORED, fresh) == (LostEvidence("prometheus", "activity", 118, 117),)


def test_a_family_that_is_gone_was_seen_zero_times() -> None:
    assert [lost.seen for lost in less_evidence(STORED, frames.empty(frames.EVIDENCE))] == [0, 0]


def test_a_family_of_another_source_is_another_family() -> None:
    fresh = evidence_frame(
        [("kubernetes", "activity", 120, 120), ("prometheus", "prompt_tokens", 1, 120)]
    )

    assert [lost.family for lost in less_evidence(STORED, fresh)] == ["activity"]


GAP_FILLED = pd.concat(
    [
        watch_evidence(3_600_000, 3_580_000),
        evidence_frame([("kube_state_metrics", "pod_requests", 120, 120)]),
    ]
)


def test_who_stood_in_for_the_watch_is_not_missed_where_the_watch_is_whole() -> None:
    assert less_evidence(GAP_FILLED, watch_evidence(3_600_000, 3_600_000)) == ()


def test_who_stands_in_for_the_watch_is_missed_while_a_gap_is_left() -> None:
    lost = less_evidence(GAP_FILLED, watch_evidence(3_600_000, 3_599_000))

    assert [one.family for one in lost] == ["pod_requests"]


def test_a_watch_that_is_shorter_than_it_was_is_lost_evidence() -> None:
    lost = less_evidence(watch_evidence(3_600_000, 3_600_000), watch_evidence(3_600_000, 3_599_000))

    assert [one.family for one in lost] == ["watch_seconds"]


def test_nothing_stored_loses_nothing() -> None:
    assert less_evidence(frames.empty(frames.EVIDENCE), STORED) == ()


def test_rows_of_one_family_add_up() -> None:
    frame = evidence_frame([("prometheus", "activity", 60, 59), ("prometheus", "activity", 60, 60)])

    assert frame[["expected", "seen"]].to_numpy().tolist() == [[120, 119]]


def test_expected_are_the_whole_scrapes_of_each_life() -> None:
    assert expected_samples(np.array([59_999, 60_000, 1]), 30_000) == 3
