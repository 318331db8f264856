"""What gateways counted: tokens by consumer and model, read as exactly as those of engines."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import orjson
import pandas as pd

from app.sources.asking import (
    Answered,
    Ask,
    EvidenceRow,
    Inquiry,
    Purpose,
    Report,
    Span,
    answers,
)
from app.sources.births import process_births
from app.sources.catalogue.gateway_files import FIELDS, Gateway
from app.sources.device_harvest import note_copies
from app.sources.lookback import LOOKBACK_SHORT_MS, with_earlier_samples
from app.sources.prometheus import PrometheusSource
from app.sources.promql import RAW_SAMPLES
from app.sources.sample_sets import concatenated, count_once, keep_series, preferred
from app.units.window import Window
from app.usage.consumers import CONSUMER_FIELDS, GATEWAY_LABELS, known_identity
from app.usage.notes import Note
from app.usage.samples import COUNTER_LABELS, SampleSet, no_samples

_REPLICA = ("namespace", "pod", "target")
# A collector shows many programs under one address; these say whose a series is.
_PROGRAM = ("exported_job", "exported_instance", "service_name", "service_instance_id")
# What scrapers and servers add: by these the scrape target of a series is known, and no consumer.
_SCRAPED = (
    *("job", "instance", "namespace", "pod", "container", "service", "endpoint", "node"),
    *("prometheus", "prometheus_replica", "replica", "receive"),
)
# A host name of a Kubernetes service, as `outbound|80||llama.serving.svc.cluster.local` ends in.
_SERVICE_HOST = re.compile(r"(?:^|\||//)([a-z0-9-]+)\.([a-z0-9-]+)\.svc(?:[.:/]|$)")

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayHarvest:
    """Counters with `GATEWAY_LABELS`; a birth's value is in milliseconds since the epoch."""

    counters: SampleSet
    births: SampleSet


def gateway_harvest(
    source: PrometheusSource,
    gateways: Sequence[Gateway],
    names: frozenset[str],
    window: Window,
    *,
    scrape_ms: int,
    report: Report,
    counter_lookback_ms: int,
) -> GatewayHarvest:
    """Collect the gateways' counters of a window.

    A series that two gateways could mean is the first one's. Identities beyond team and key alias
    are dropped here unless the gateway's entry allows them.
    """
    counters: list[SampleSet] = []
    births: list[SampleSet] = []
    taken: set[str] = set()
    for gateway in gateways:
        inquiry = Inquiry(
            source=source,
            exporter=gateway.exporter,
            names=names,
            window=window,
            scrape_ms=scrape_ms,
            report=report,
        )
        if not any(_published(inquiry, gateway, one) for one in gateway.quantities()):
            continue
        read, born = _one_gateway(inquiry, gateway, taken, counter_lookback_ms)
        if not len(read.labels):
            continue
        _record(inquiry, gateway, read)
        counters.append(_told(read, gateway))
        births.append(born)
    return GatewayHarvest(
        counters=concatenated(counters, GATEWAY_LABELS) if counters else no_samples(GATEWAY_LABELS),
        births=concatenated(births, COUNTER_LABELS),
    )


def _published(inquiry: Inquiry, gateway: Gateway, quantity: str) -> bool:
    meaning = inquiry.exporter.meaning(gateway.meaning_name(quantity))
    return bool(meaning.published(inquiry.names))


def _one_gateway(
    inquiry: Inquiry, gateway: Gateway, taken: set[str], counter_lookback_ms: int
) -> tuple[SampleSet, SampleSet]:
    """Return the counters of one gateway and their births, one identity a counter.

    The gateway's series are added to those that are taken.
    """
    start_ms, end_ms = inquiry.window.start_ms, inquiry.window.end_ms
    whole = Span(start_ms=start_ms - LOOKBACK_SHORT_MS, end_ms=end_ms + 2 * inquiry.scrape_ms)
    asks: list[Ask] = []
    for quantity in gateway.quantities():
        name = gateway.meaning_name(quantity)
        asks += inquiry.asks(name, RAW_SAMPLES, whole)
        asks += inquiry.asks(name, RAW_SAMPLES, whole, purpose=Purpose.BIRTHS)
    answered = [
        Answered(one.ask, _claimed(one, gateway, taken))
        for one in answers(inquiry.source, asks, inquiry.report)
    ]
    # Also those that are left out below: under another name they tell the same tokens.
    for one in answered:
        if one.ask.purpose is Purpose.SAMPLES:
            taken.update(one.samples.labels["series"])
    identified = _identified(answered, gateway)
    read = _plain(
        [
            preferred(
                [
                    one.samples
                    for one in identified
                    if one.ask.purpose is Purpose.SAMPLES and one.ask.meaning.name == name
                ],
                COUNTER_LABELS,
                (*_REPLICA, "program"),
            )
            for name in map(gateway.meaning_name, gateway.quantities())
        ]
    )
    own = _plain([one.samples for one in identified if one.ask.purpose is Purpose.BIRTHS])
    by_process = process_births(inquiry, read.labels, own, [whole])
    births = concatenated([own, by_process], COUNTER_LABELS)
    names = [gateway.meaning_name(quantity) for quantity in gateway.quantities()]
    read = with_earlier_samples(inquiry, names, read, births, counter_lookback_ms)
    return read, births


def _plain(sets: Sequence[SampleSet]) -> SampleSet:
    """Return the series of all sets with `COUNTER_LABELS` alone."""
    found = concatenated(sets, COUNTER_LABELS)
    return replace(found, labels=found.labels[[*COUNTER_LABELS]])


def _claimed(answer: Answered, gateway: Gateway, taken: set[str]) -> SampleSet:
    """Return the series that are this gateway's: of the wanted values, claimed, not another's."""
    samples = answer.samples
    where = answer.ask.alias.where
    if not len(samples.labels) or not (where or gateway.claims or taken):
        return samples
    keep = []
    for text in samples.labels["series"]:
        labels: Labels = orjson.loads(text)
        wanted = all(labels.get(label, "") in values for label, values in where)
        ours = not gateway.claims or any(
            labels.get(label, "") in values or ("*" in values and labels.get(label))
            for label, values in gateway.claims
        )
        keep.append(wanted and bool(ours) and text not in taken)
    return keep_series(samples, np.array(keep, dtype=bool))


def _identified(answered: Sequence[Answered], gateway: Gateway) -> list[Answered]:
    """Give equal counters equal identities, whoever scraped them.

    A counter is its replica and what the gateway says of it. Labels that no file names are the
    scraper's, unless series of one scrape differ in them at one instant: then the gateway tells
    them apart so. A second Prometheus scrapes at other instants.
    """
    known = gateway.label_names()
    listed = known | {f"exported_{name}" for name in known}
    rows = [
        (number, f"{one.ask.meaning.name} {one.ask.alias.name}", _without_name(text), place)
        for number, one in enumerate(answered)
        for text, *place in zip(
            one.samples.labels["series"],
            *(one.samples.labels[name] for name in _REPLICA),
            strict=True,
        )
    ]
    varying = _varying(answered, [(number, labels) for number, _, labels, _ in rows], listed)
    identities: list[list[str]] = [[] for _ in answered]
    programs: list[list[str]] = [[] for _ in answered]
    for number, name, labels, (namespace, pod, target) in rows:
        told = sorted((key, labels[key]) for key in labels if key in listed or key in varying)
        address = "" if pod else target
        text = orjson.dumps([namespace, pod, address, told]).decode()
        identities[number].append(f"{name} {text}")
        programs[number].append("\n".join(labels.get(one, "") for one in _PROGRAM))
    return [
        Answered(one.ask, _with_identity(one.samples, texts, whose))
        for one, texts, whose in zip(answered, identities, programs, strict=True)
    ]


def _varying(
    answered: Sequence[Answered], rows: Sequence[tuple[int, Labels]], listed: frozenset[str]
) -> frozenset[str]:
    """Return the unlisted labels in which series of one answer, scrape and instant differ.

    ``rows`` are the number of the answer and the labels of every series, in the answers' order.
    """
    scraped: dict[tuple[object, ...], list[tuple[Labels, list[int]]]] = {}
    instants = (
        one.samples.at_ms[first:end].tolist()
        for one in answered
        for first, end in pairwise(one.samples.first.tolist())
    )
    for (number, labels), at_ms in zip(rows, instants, strict=True):
        told = tuple(sorted(pair for pair in labels.items() if pair[0] in listed))
        key = (number, told, tuple(labels.get(name, "") for name in _SCRAPED))
        rest: Labels = {
            name: text
            for name, text in labels.items()
            if name not in listed and name not in _SCRAPED
        }
        scraped.setdefault(key, []).append((rest, at_ms))
    varying: set[str] = set()
    for series in scraped.values():
        first_at: dict[int, Labels] = {}
        for rest, at_ms in series if len(series) > 1 else ():
            others = {id(one): one for one in (first_at.setdefault(at, rest) for at in at_ms)}
            for other in others.values():
                varying |= {name for name, _ in rest.items() ^ other.items()}
    return frozenset(varying)


def _with_identity(samples: SampleSet, identities: list[str], programs: list[str]) -> SampleSet:
    labels = samples.labels.assign(
        identity=pd.Series(identities, dtype="str"), program=pd.Series(programs, dtype="str")
    )
    return SampleSet(labels, samples.first, samples.at_ms, samples.value)


def _told(samples: SampleSet, gateway: Gateway) -> SampleSet:
    """Return the samples with `GATEWAY_LABELS`: what the gateway says of consumer and route."""
    told = [_fields(_without_name(text), gateway) for text in samples.labels["series"]]
    columns = {
        "gateway": pd.Series([gateway.name] * len(told), dtype="str"),
        "quantity": pd.Series(
            [name.rpartition(".")[2] for name in samples.labels["quantity"]], dtype="str"
        ),
    }
    for name in FIELDS:
        if name != "backend_host":
            columns[name] = pd.Series([one[name] for one in told], dtype="str")
    if not gateway.end_users:
        columns["end_user"] = pd.Series([""] * len(told), dtype="str")
    labels = samples.labels.assign(**columns)[[*GATEWAY_LABELS]]
    return SampleSet(labels, samples.first, samples.at_ms, samples.value)


def _fields(labels: Labels, gateway: Gateway) -> dict[str, str]:
    """Return every field of `FIELDS`, '' where the gateway says nothing or that it is nobody."""
    told = dict.fromkeys(FIELDS, "")
    for field, names in gateway.fields:
        found = (
            known_identity(labels.get(variant, ""))
            for name in names
            for variant in (f"exported_{name}", name)
        )
        text = next((one for one in found if one), "")
        told[field] = "" if field in CONSUMER_FIELDS and text.lower() in gateway.nobody else text
    host = _SERVICE_HOST.search(told["backend_host"].lower())
    if host and not told["backend"]:
        told["backend"], told["backend_namespace"] = host.groups()
    return told


def _without_name(text: str) -> dict[str, str]:
    labels: dict[str, str] = orjson.loads(text)
    labels.pop("__name__", None)
    return labels


def _record(inquiry: Inquiry, gateway: Gateway, read: SampleSet) -> None:
    """Write down the evidence of each quantity, under which name it was read, and copies."""
    start_ms, end_ms = inquiry.window.start_ms, inquiry.window.end_ms
    slots = inquiry.window.length_ms // inquiry.scrape_ms
    report = inquiry.report
    for quantity in gateway.quantities():
        name = gateway.meaning_name(quantity)
        mine = (read.labels["quantity"] == name).to_numpy()
        if not mine.any():
            continue
        samples = keep_series(read, mine)
        series, seen = count_once(samples, start_ms, end_ms)
        report.evidence.append(EvidenceRow(name, series * slots, seen))
        note_copies(inquiry, name, samples)
        for alias in inquiry.exporter.meaning(name).published(inquiry.names):
            count = report.series.get((name, alias.name), 0)
            if count:
                report.notes.append(Note("alias", name, count, f"Read as {alias.name}."))
