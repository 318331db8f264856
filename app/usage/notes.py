"""Named lines about a window: what was odd, on what, how much of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

import pandas as pd

from app.usage import frames

# A pod, as namespace/name, gets devices by claims that its source does not show.
CLAIMS_NOT_VISIBLE = "claims_not_visible"


@dataclass(frozen=True, slots=True)
class Note:
    """One row of `frames.NOTES`; ``detail`` is a sentence for people."""

    kind: str
    subject: str
    quantity: int
    detail: str


def notes_frame(notes: Iterable[Note]) -> pd.DataFrame:
    """Return the notes as a frame, equal ones once, in a fixed order."""
    rows = sorted(set(notes), key=attrgetter("kind", "subject", "detail", "quantity"))
    frame = frames.empty(frames.NOTES)
    if not rows:
        return frame
    return pd.DataFrame(
        {
            "kind": pd.Series([row.kind for row in rows], dtype="str"),
            "subject": pd.Series([row.subject for row in rows], dtype="str"),
            "quantity": pd.Series([row.quantity for row in rows], dtype="int64"),
            "detail": pd.Series([row.detail for row in rows], dtype="str"),
        }
    )
