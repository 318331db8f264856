"""What routes ask of adjustments."""

from typing import Protocol

import pandas as pd

from app.workflows.posted_adjustments import AdjustmentsQuestion


class AdjustmentLedger(Protocol):
    """One request's view of what was posted to closed periods."""

    def adjustments(self, question: AdjustmentsQuestion) -> pd.DataFrame:
        """Return adjustments as `chargeback.adjustments.POSTED`; refuse an unknown period."""
        ...
