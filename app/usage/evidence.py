"""Evidence: how many samples a window should have and has, and whether a collection lost some."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.usage import frames

Int64s = npt.NDArray[np.int64]

# The source that is asked where nobody watched, and the watch's own source and family.
STAND_IN = "kube_state_metrics"
_WATCH = ("kubernetes", "watch_seconds")


@dataclass(frozen=True, slots=True)
class LostEvidence:
    """A family of which a later collection saw less than is stored; ``seen`` 0 is none at all."""

    source: str
    family: str
    stored: int
    seen: int


def watch_evidence(window_ms: int, watched_ms: int) -> pd.DataFrame:
    """Return `EVIDENCE` of how long Kubernetes was watched, in seconds."""
    return evidence_frame([(*_WATCH, window_ms // 1000, watched_ms // 1000)])


def expected_samples(lengths_ms: Int64s, scrape_ms: int) -> int:
    """Return how many samples targets that lived so long should have: whole scrapes of each."""
    return int((lengths_ms // scrape_ms).sum())


def evidence_frame(rows: list[tuple[str, str, int, int]]) -> pd.DataFrame:
    """Return `EVIDENCE` of (source, family, expected, seen), one row a source and family."""
    frame = frames.empty(frames.EVIDENCE)
    if not rows:
        return frame
    columns = zip(frame.columns, zip(*rows, strict=True), strict=True)
    frame = pd.DataFrame(
        {name: pd.Series(list(values), dtype=frame[name].dtype) for name, values in columns}
    )
    united = frame.groupby(["source", "family"], sort=True, as_index=False).sum()
    validated: pd.DataFrame = frames.EVIDENCE.validate(united)
    return validated


def less_evidence(stored: pd.DataFrame, fresh: pd.DataFrame) -> tuple[LostEvidence, ...]:
    """Return the families (`EVIDENCE`) of which ``fresh`` saw less than ``stored``, in order.

    A family that is missing from a frame was not seen. What was expected does not matter: metrics
    expire, and with them what would be expected of them. kube-state-metrics only stands in for the
    watch: where that covers all of the hour it is not asked, and not missed.
    """
    key = ["source", "family"]
    if _watch_is_whole(fresh):
        stored = stored.loc[stored["source"] != STAND_IN]
    before = stored.groupby(key, sort=True)["seen"].sum()
    after = fresh.groupby(key, sort=True)["seen"].sum()
    at = after.index.get_indexer(before.index)
    seen = np.append(after.to_numpy(dtype=np.int64), 0)[at]
    lost = np.flatnonzero(seen < before.to_numpy())
    rows = before.reset_index()
    return tuple(
        LostEvidence(
            source=str(rows["source"].iloc[row]),
            family=str(rows["family"].iloc[row]),
            stored=int(rows["seen"].iloc[row]),
            seen=int(seen[row]),
        )
        for row in lost
    )


def _watch_is_whole(evidence: pd.DataFrame) -> bool:
    watch = evidence.loc[(evidence["source"] == _WATCH[0]) & (evidence["family"] == _WATCH[1])]
    return bool(len(watch)) and bool((watch["seen"] >= watch["expected"]).all())
