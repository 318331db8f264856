"""Gateways that saw too few or too many of a service's tokens."""

import pandas as pd
import pytest

from app.delivery.slack_messages import finding_messages
from app.findings.gateway_ratio import GATEWAY_RATIO_EVIDENCE, detect_gateway_ratios
from app.findings.states import TrackedFinding
from app.findings.values import Detection, FindingKind, FindingState, WastePolicy
from tests.findings.builders import DAY as WINDOW


def evidence(gateway: int, engine: int | None, *, service: int = 5) -> pd.DataFrame:
    row = {
        "cluster": "prod-eu",
        "namespace": "serving",
        "workload": "llama",
        "team": "ml-platform",
        "workload_id": service,
        "gateway_tokens": gateway,
        "days": 1,
        "engine_tokens": pd.NA if engine is None else engine,
    }
    dtypes = {name: str(one.dtype) for name, one in GATEWAY_RATIO_EVIDENCE.columns.items()}
    return pd.DataFrame([row])[[*dtypes]].astype(dtypes)


def detect(gateway: int, engine: int | None) -> Detection:
    return detect_gateway_ratios(evidence(gateway, engine), WINDOW, WastePolicy())


@pytest.mark.parametrize(
    ("gateway", "found"), [(799, 1), (800, 0), (1_000, 0), (1_050, 0), (1_051, 1), (0, 1)]
)
def test_both_thresholds_belong_to_what_is_fine(gateway: int, found: int) -> None:
    assert len(detect(gateway, 1_000).findings) == found


@pytest.mark.parametrize("engine", [None, 0])
def test_an_engine_that_counts_nothing_lets_nobody_tell(engine: int | None) -> None:
    found = detect(500, engine)

    assert found.findings == ()
    assert found.cannot_tell[0].reason == "its engine publishes no count of its tokens"


def test_the_finding_names_the_service_and_both_counts_and_no_money() -> None:
    (finding,) = detect(600, 1_000).findings

    assert finding.kind is FindingKind.GATEWAY_RATIO
    assert (finding.subject.workload, finding.wasted_nanos, finding.wasted_gpu_ms) == (
        "llama",
        0,
        0,
    )
    assert {figure.name: figure.value for figure in finding.evidence} == {
        "gateway_to_engine_ratio": 0.6,
        "gateway_tokens": 600.0,
        "engine_tokens": 1_000.0,
        "days": 1.0,
    }


def test_findings_of_two_services_are_two() -> None:
    both = pd.concat([evidence(1, 100), evidence(1, 100, service=6)], ignore_index=True)
    found = detect_gateway_ratios(both, WINDOW, WastePolicy()).findings

    assert len({finding.finding_id for finding in found}) == 2


@pytest.mark.parametrize(
    ("gateway", "advice"),
    [(600, "who calls the service without a gateway"), (2_000, "counted twice")],
)
def test_the_message_says_what_was_counted_and_what_to_do(gateway: int, advice: str) -> None:
    (finding,) = detect(gateway, 1_000).findings
    tracked = TrackedFinding(
        finding=finding, state=FindingState.OPEN, episode=1, first_seen_ms=0, last_seen_ms=0
    )

    (message,) = finding_messages([tracked], currency="USD", public_url="http://ledger")

    shown = str([block.to_dict() for block in message.blocks])
    assert f"serving/llama: gateways counted {gateway // 10}% of its tokens" in shown
    assert f"{gateway:,} tokens went through gateways, its engines counted 1,000" in shown
    assert advice in shown
    assert "wasted" not in message.text
