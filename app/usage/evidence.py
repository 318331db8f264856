"""Evidence: how many samples a window should have and has, and whether a collection lost some."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.usage import frames

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LostEvidence:
    """A family of which a later collection saw less than is stored; ``seen`` 0 is none at all."""

    source: str
    family: str
    stored: int
    seen: int


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
    expire, and with them what would be expected of them.
    """
    key = ["source", "family"]
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
