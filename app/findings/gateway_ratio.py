"""Gateway ratio: consumers pay by tokens that are too few or too many for what was served."""

from typing import Any

import pandas as pd
import pandera.pandas as pa

from app.findings.values import (
    CannotTell,
    Detection,
    Figure,
    Finding,
    FindingKind,
    Subject,
    WastePolicy,
    finding_id,
    worst_first,
)
from app.units.window import Window

# One row a service whose cost was reassigned to consumers for days that begin in the evidence
# window. Tokens are prompt and generation tokens of these days: what gateways counted for the
# service and those that share a stream of tokens with it, and what their engines counted, null
# where one of them does not count. `team` is who paid first-hand for most of it.
GATEWAY_RATIO_EVIDENCE = pa.DataFrameSchema(
    {
        **dict.fromkeys(("cluster", "namespace", "workload", "team"), pa.Column("str")),
        **dict.fromkeys(("workload_id", "gateway_tokens", "days"), pa.Column("int64")),
        "engine_tokens": pa.Column("Int64", nullable=True),
    },
    strict=True,
    coerce=False,
)


def detect_gateway_ratios(evidence: pd.DataFrame, window: Window, policy: WastePolicy) -> Detection:
    """Return the services of which gateways saw too few or too many tokens.

    Too few say that somebody goes around the gateway and others pay for it; too many, that tokens
    are counted twice, or are not this service's. No money is wasted by it, so none is named. Where
    an engine does not count its tokens nothing can be told.
    """
    GATEWAY_RATIO_EVIDENCE.validate(evidence)
    findings: list[Finding] = []
    cannot_tell: list[CannotTell] = []
    for row in evidence.itertuples(index=False):
        ratio = _ratio(row)
        if ratio is None:
            cannot_tell.append(_cannot_tell(row))
        elif not policy.gateway_ratio_lowest <= ratio <= policy.gateway_ratio_highest:
            findings.append(_finding(row, window, ratio))
    return Detection(worst_first(findings), tuple(cannot_tell))


def _ratio(row: Any) -> float | None:  # noqa: ANN401 # pandas builds the row's type
    if row.engine_tokens is pd.NA or not row.engine_tokens:
        return None
    return float(row.gateway_tokens / row.engine_tokens)


def _finding(row: Any, window: Window, ratio: float) -> Finding:  # noqa: ANN401 # pandas builds the row's type
    return Finding(
        kind=FindingKind.GATEWAY_RATIO,
        subject=_subject(row),
        window=window,
        since_ms=window.start_ms,
        wasted_gpu_ms=0,
        wasted_nanos=0,
        per_day_nanos=0,
        evidence=(
            Figure("gateway_to_engine_ratio", ratio),
            Figure("gateway_tokens", float(row.gateway_tokens)),
            Figure("engine_tokens", float(row.engine_tokens)),
            Figure("days", float(row.days)),
        ),
    )


def _cannot_tell(row: Any) -> CannotTell:  # noqa: ANN401 # pandas builds the row's type
    subject = _subject(row)
    return CannotTell(
        finding_id=finding_id(FindingKind.GATEWAY_RATIO, subject),
        subject=subject,
        reason="its engine publishes no count of its tokens",
    )


def _subject(row: Any) -> Subject:  # noqa: ANN401 # pandas builds the row's type
    return Subject(
        cluster=row.cluster,
        node_id=0,
        node="",
        gpu_model_id=0,
        gpu_model="",
        workload_id=int(row.workload_id),
        namespace=row.namespace,
        workload=row.workload,
        team=row.team,
    )
