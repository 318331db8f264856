"""Four posted differences of round figures, with the signature of the real ones."""

import pandas as pd

from app.chargeback.adjustments import POSTED
from app.workflows.posted_adjustments import AdjustmentsQuestion


def a_difference(number: int, team: str, nanos: int, **other: object) -> dict[str, object]:
    """The difference of one GPU-hour of a team in October, posted in November."""
    return {
        "adjustment": f"{number:016x}",
        "run": 1,
        "type": "late_facts",
        "period": "2026-10",
        "posting_period": "2026-11",
        "posted_at": "2026-11-03T12:00:00Z",
        "usage_start": "2026-10-31T23:00:00Z",
        "day": "2026-10-31",
        "cluster": "prod-eu",
        "node": "gpu-1",
        "gpu_model": "NVIDIA-L4",
        "namespace": f"{team}-prod",
        "workload": "ranker",
        "pod": "ranker-0",
        "team": team,
        "consumer": "",
        "kind": "idle",
        "charge": f"{number + 16:016x}",
        "gpu_ms": 3_600_000,
        "unpriced_ms": 0,
        "cost_nanos": nanos,
        "reason": "Late delivery of 1 hour, revision 2.",
        "author": "gpuledger",
    } | other


DIFFERENCES = (
    a_difference(1, "search", 3_000_000_000),
    a_difference(2, "platform", -3_000_000_000, kind="unallocated", pod="", namespace=""),
    a_difference(3, "search", -500_000_000, run=2, type="correction", author="ada"),
    a_difference(4, "ml", 500_000_000, run=2, type="correction", author="ada"),
)


class FakeAdjustments:
    """See `app.web.adjustment_reading.AdjustmentLedger`."""

    def adjustments(self, question: AdjustmentsQuestion) -> pd.DataFrame:
        """Return the differences of one period that are asked for."""
        rows = pd.DataFrame(list(DIFFERENCES))[[*POSTED.columns]]
        for name, wanted in (
            ("period", question.period),
            ("posting_period", question.posted_in),
            ("team", question.team),
            ("type", question.type.name.lower() if question.type else ""),
        ):
            if wanted:
                rows = rows.loc[rows[name] == wanted]
        dtypes = {name: str(column.dtype) for name, column in POSTED.columns.items()}
        return rows.reset_index(drop=True).astype(
            {name: "str" if dtype.startswith("str") else dtype for name, dtype in dtypes.items()}
        )
