"""Pods that use ResourceClaims, as kube-state-metrics shows them: by name, without devices."""

from collections.abc import Sequence

from app.sources.asking import Answered, Ask, Inquiry, Span, chosen
from app.sources.promql import NEWEST
from app.usage.notes import CLAIMS_NOT_VISIBLE, Note

_DETAIL = (
    "The pod gets devices by claims, and kube-state-metrics does not tell which: its time is on no"
    " line, and devices of its node that look free may be its own. Watch the Kubernetes API."
)


def claim_asks(inquiry: Inquiry, span: Span) -> list[Ask]:
    """Ask which pods used claims; nothing is asked where none are exported."""
    return inquiry.asks("pod_claims", NEWEST, span)


def notes_on_claims(answered: Sequence[Answered]) -> list[Note]:
    """Name each pod that used claims, and how many."""
    used: dict[str, set[tuple[str, str]]] = {}
    for samples in chosen(answered, "pod_claims"):
        labels = samples.labels
        for namespace, pod, uid, series in zip(
            labels["namespace"], labels["pod"], labels["uid"], labels["series"], strict=True
        ):
            used.setdefault(f"{namespace}/{pod}", set()).add((uid, series))
    return [
        Note(CLAIMS_NOT_VISIBLE, subject, len(claims), _DETAIL)
        for subject, claims in sorted(used.items())
    ]
