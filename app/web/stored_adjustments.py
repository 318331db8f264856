"""Adjustments over the database."""

from zoneinfo import ZoneInfo

import pandas as pd

from app.wiring import Connection
from app.workflows.posted_adjustments import AdjustmentsQuestion, posted_adjustments


class StoredAdjustments:
    """See `app.web.adjustment_reading.AdjustmentLedger`."""

    __slots__ = ()
    connection: Connection
    zone: ZoneInfo

    def adjustments(self, question: AdjustmentsQuestion) -> pd.DataFrame:
        """Return what was posted."""
        return posted_adjustments(self.connection, question, self.zone)
