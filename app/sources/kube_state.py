"""The inventory of a window from kube-state-metrics alone: nodes, holds, and what was observed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from app.sources.asking import (
    Answered,
    Ask,
    EvidenceRow,
    Inquiry,
    Report,
    Span,
    answers,
    chosen,
)
from app.sources.catalogue import Catalogue
from app.sources.harvest import evidence_frame, metric_names, note_names
from app.sources.instance_types import with_told_devices
from app.sources.kube_state_claims import claim_asks, notes_on_claims
from app.sources.kube_state_declared import (
    annotation_asks,
    declaring_pods,
    notes_on_reservations,
)
from app.sources.kube_state_nodes import NodeSpan, node_spans
from app.sources.kube_state_pods import PodAnswers, SeenPod, pod_holds, seen_pods
from app.sources.lookback import LOOKBACK_SHORT_MS
from app.sources.naming import label_named
from app.sources.prometheus import PrometheusSource
from app.sources.promql import EVER_TRUE, NEWEST, RAW_SAMPLES, Matcher, Operator, any_of
from app.sources.scrapes import ScrapeTimes, scrape_times
from app.units.intervals import Spans
from app.units.window import Window
from app.usage.evidence import STAND_IN
from app.usage.inventory import PodHold
from app.usage.notes import notes_frame

# Extended resources are the only ones counted in whole units, besides the pods of a node.
_EXTENDED = (
    Matcher("unit", Operator.EQUAL, "integer"),
    Matcher("resource", Operator.NOT_EQUAL, "pods"),
)
_ENDED = (Matcher("phase", Operator.REGEX, "Succeeded|Failed"),)
_POD_FACTS = (
    "pod_created",
    "pod_owner",
    "pod_labels",
    "pod_scheduled",
    "pod_completed",
)
_DAY_MS = 24 * 3_600_000
# More namespaces than this are not named in a query one by one.
_MOST_NAMED = 100
# Families of which every scrape shows all that there is.
_SCRAPED = ("node_created", "pod_requests", "pod_init_requests")
# Without these nobody can say which devices there were, and who held them.
_NEEDED = ("pod_requests", "node_created", "node_allocatable")
_MEANINGS = (
    "node_created",
    "node_labels",
    "node_capacity",
    "node_allocatable",
    "pod_requests",
    "pod_scheduled",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What kube-state-metrics said about a window.

    Holds overlap the window and carry unsure edges (`PodHold`). ``observed`` is the time inside
    the window that scrapes speak for; outside it nobody said anything.
    """

    nodes: tuple[NodeSpan, ...]
    holds: tuple[PodHold, ...]
    observed: Spans
    evidence: pd.DataFrame
    notes: pd.DataFrame
    partial: bool


def kube_state_inventory(
    source: PrometheusSource,
    catalogue: Catalogue,
    window: Window,
    *,
    scrape_ms: int,
    known_nodes: Mapping[tuple[str, int], str] | None = None,
    devices: Mapping[str, int] | None = None,
) -> Inventory:
    """Rebuild a window's inventory. Raises if nobody answers; other trouble becomes a note.

    ``known_nodes`` gives UIDs by name and creation in milliseconds, since none are exported; a
    node that is not among them gets a UID made of both. ``devices`` are the physical devices by
    node name or instance type, where no label tells all of them.
    """
    report = Report()
    inquiry = Inquiry(
        source=source,
        exporter=catalogue.kube_state_metrics,
        names=metric_names(source, window, scrape_ms),
        window=window,
        scrape_ms=scrape_ms,
        report=report,
    )
    lacking, exporter = _lacking(inquiry), inquiry.exporter
    answered = list(answers(source, _first_asks(inquiry), report))
    shown = [samples for name in _SCRAPED for samples in chosen(answered, name)]
    times = scrape_times(shown, scrape_ms)
    pods = seen_pods(exporter, answered, times)
    declaring = declaring_pods(answered, times)
    # Without the requests no scrape says who held what, however many there were.
    reach_ms = 0 if "pod_requests" in lacking else 2 * scrape_ms
    answered += answers(source, _pod_asks(inquiry, answered, (*pods, *declaring)), report)
    report.notes += [*notes_on_reservations(pods, declaring), *notes_on_claims(answered)]
    pods = _with_declaring(pods, answered, times)
    nodes = tuple(
        replace(span, node=with_told_devices(span.node, devices or {}))
        for span in node_spans(exporter, answered, times, known_nodes or {})
    )
    facts = PodAnswers(answered)
    holds, odd = pod_holds(
        pods,
        facts,
        nodes,
        terminal_ms=_terminal_ms(inquiry, pods, facts),
        first_ready_ms=_first_ready_ms(inquiry, pods, facts),
        lost_before_ms=window.end_ms - 2 * scrape_ms,
        silence_ms=times.silence_ms,
    )
    report.notes += odd
    _record(inquiry, answered)
    return Inventory(
        nodes=tuple(node for node in nodes if _touches(node, window)),
        holds=tuple(hold for hold in holds if _touches(hold, window)),
        # Without the requests nobody says who held what, however often nodes were scraped.
        observed=times.observed(reach_ms).clip(window.start_ms, window.end_ms),
        evidence=evidence_frame(report, STAND_IN),
        notes=notes_frame(report.notes),
        partial=report.partial,
    )


def _with_declaring(
    pods: tuple[SeenPod, ...], answered: Sequence[Answered], times: ScrapeTimes
) -> tuple[SeenPod, ...]:
    """Add the pods that declare parts of GPUs and request none; their nodes are told."""
    known = {pod.uid for pod in pods}
    declaring = declaring_pods(answered, times)
    return (*pods, *(pod for pod in declaring if pod.uid not in known))


def _touches(one: NodeSpan | PodHold, window: Window) -> bool:
    return one.start_ms < window.end_ms and one.end_ms > window.start_ms


def _lacking(inquiry: Inquiry) -> frozenset[str]:
    """Return the needed meanings that a living kube-state-metrics does not publish, named."""
    exporter = inquiry.exporter
    if not any(meaning.published(inquiry.names) for meaning in exporter.meanings):
        return frozenset()
    lacking = [name for name in _NEEDED if not exporter.meaning(name).published(inquiry.names)]
    for name in lacking:
        inquiry.report.trouble(name, f"{exporter.name} lives and does not publish it.")
    return frozenset(lacking)


def _span(inquiry: Inquiry) -> Span:
    """Return the window and some scrapes on both sides, which tell what was there at its edges."""
    return Span(
        start_ms=inquiry.window.start_ms - LOOKBACK_SHORT_MS,
        end_ms=inquiry.window.end_ms + LOOKBACK_SHORT_MS,
    )


def _first_asks(inquiry: Inquiry) -> list[Ask]:
    span = _span(inquiry)
    asks = inquiry.asks("pod_requests", RAW_SAMPLES, span, matchers=_EXTENDED)
    asks += inquiry.asks("pod_init_requests", RAW_SAMPLES, span, matchers=_EXTENDED)
    asks += inquiry.asks("node_created", RAW_SAMPLES, span)
    asks += inquiry.asks("node_info", NEWEST, span)
    asks += inquiry.asks("node_labels", RAW_SAMPLES, span)
    asks += annotation_asks(inquiry, span)
    asks += claim_asks(inquiry, span)
    for name in ("node_capacity", "node_allocatable"):
        asks += inquiry.asks(name, RAW_SAMPLES, span, matchers=_EXTENDED)
    return asks


def _pod_asks(inquiry: Inquiry, answered: Sequence[Answered], pods: Sequence[SeenPod]) -> list[Ask]:
    """Ask about pods, in the namespaces of those that hold something."""
    if not pods:
        return []
    span = _span(inquiry)
    namespaces = tuple(sorted({pod.namespace for pod in pods}))
    asked = [
        samples
        for name in ("pod_requests", "pod_init_requests", "pod_annotations")
        for samples in chosen(answered, name)
    ]
    requests = pd.concat([samples.labels for samples in asked])
    label = label_named(inquiry.exporter, "namespace", requests)
    where = (any_of(label, namespaces),) if label and len(namespaces) <= _MOST_NAMED else ()
    asks = []
    # Requests name the node of a pod; where it declares a part instead, only the pod itself does.
    nodes = ("pod_info",) if any(not pod.node_name for pod in pods) else ()
    for name in (*_POD_FACTS, *nodes, "replicaset_owner", "job_owner", "pod_ready"):
        asks += inquiry.asks(name, NEWEST, span, matchers=where)
    asks += inquiry.asks("pod_phase", EVER_TRUE, span, matchers=(*_ENDED, *where))
    return asks


def _terminal_ms(
    inquiry: Inquiry, pods: Sequence[SeenPod], facts: PodAnswers
) -> dict[str, tuple[int, int]]:
    """Return when pods that do not say when they ended were first seen to have ended.

    The first instant is that of the scrape which showed it, the second that of the one before.
    """
    silent = [pod for pod in pods if pod.uid in facts.phases and pod.uid not in facts.completed_ms]
    ended: dict[str, tuple[int, int]] = {}
    for answer in _ask_about(inquiry, "pod_phase", silent, _ENDED, _span(inquiry)):
        samples = answer.samples
        for row, uid in enumerate(samples.labels["uid"]):
            own = slice(int(samples.first[row]), int(samples.first[row + 1]))
            at_ms, value = samples.at_ms[own], samples.value[own]
            true = at_ms[value > 0]
            if len(true):
                before = at_ms[at_ms < true[0]]
                shown = (int(true[0]), int(before[-1]) if len(before) else 0)
                ended[uid] = min(ended.get(uid, shown), shown)
    return ended


def _first_ready_ms(inquiry: Inquiry, pods: Sequence[SeenPod], facts: PodAnswers) -> dict[str, int]:
    """Return when pods that became ready in the span did so first: the object forgets that.

    A replica that restarts becomes ready again; only its first time ends a cold start. Earlier
    times are looked for as far back as the pod was bound, at most a day.
    """
    span = _span(inquiry)
    turned = [pod for pod in pods if facts.ready_ms.get(pod.uid, 0) >= span.start_ms]
    bound_ms = min((facts.scheduled_ms.get(pod.uid, span.start_ms) for pod in turned), default=0)
    since = Span(
        start_ms=min(span.start_ms, max(bound_ms, inquiry.window.start_ms - _DAY_MS)),
        end_ms=span.end_ms,
    )
    first: dict[str, int] = {}
    for answer in _ask_about(inquiry, "pod_ready", turned, (), since):
        samples = answer.samples
        if not len(samples.at_ms):
            continue
        lowest = np.minimum.reduceat(samples.value, samples.first[:-1]).tolist()
        for uid, seconds in zip(samples.labels["uid"], lowest, strict=True):
            ready_ms = round(seconds * 1000)
            first[uid] = min(first.get(uid, ready_ms), ready_ms)
    return first


def _ask_about(
    inquiry: Inquiry,
    meaning: str,
    pods: Sequence[SeenPod],
    matchers: tuple[Matcher, ...],
    span: Span,
) -> list[Answered]:
    """Ask for all samples of some pods, named by UID, which no scraper's label hides."""
    uids = sorted(pod.uid for pod in pods)
    asks = []
    for start in range(0, len(uids), _MOST_NAMED):
        where = any_of("uid", tuple(uids[start : start + _MOST_NAMED]))
        asks += inquiry.asks(meaning, RAW_SAMPLES, span, matchers=(*matchers, where))
    return list(answers(inquiry.source, asks, inquiry.report))


def _record(inquiry: Inquiry, answered: Sequence[Answered]) -> None:
    """Write down the evidence: scrapes, since each of them shows everything there is."""
    window = inquiry.window
    slots = window.length_ms // inquiry.scrape_ms
    for name in ("node_created", "pod_requests"):
        times = scrape_times(chosen(answered, name), inquiry.scrape_ms)
        seen = times.most_within(window.start_ms, window.end_ms)
        inquiry.report.evidence.append(EvidenceRow(name, slots, seen))
    note_names(inquiry, _MEANINGS)
