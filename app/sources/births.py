"""When counters came to life: by their own word, else by the start of their process."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from app.sources.asking import Inquiry, Span, answers
from app.sources.labels import BOUND_MARK
from app.sources.naming import narrowed_to
from app.sources.promql import RAW_SAMPLES
from app.sources.sample_sets import concatenated
from app.usage.samples import COUNTER_LABELS, SampleSet


def parents_of(labels: pd.DataFrame) -> pd.Series:
    """Return the identities to which births belong: of a bucket its histogram, else its own."""
    names = [identity.partition(BOUND_MARK)[0] for identity in labels["identity"]]
    return pd.Series(names, index=labels.index, dtype="str")


def births_of_buckets(births: SampleSet, buckets: pd.DataFrame) -> SampleSet:
    """Give each bucket the birth of its histogram, under the bucket's own identity."""
    return _given_to(buckets, parents_of(buckets), births, births.labels["identity"])


def process_births(
    inquiry: Inquiry, counters: pd.DataFrame, births: SampleSet, spans: Sequence[Span]
) -> SampleSet:
    """Take the start of the process as the birth of counters that tell none themselves."""
    orphans = counters.assign(identity=parents_of(counters), le="")
    orphans = orphans[~orphans["identity"].isin(births.labels["identity"])]
    orphans = orphans.drop_duplicates("identity").reset_index(drop=True)
    asks = [
        ask
        for matchers in narrowed_to(inquiry.exporter, orphans)
        for ask in inquiry.asks("process_start", RAW_SAMPLES, *spans, matchers=matchers)
    ]
    starts = concatenated(
        [answer.samples for answer in answers(inquiry.source, asks, inquiry.report)],
        COUNTER_LABELS,
    )
    starts = SampleSet(starts.labels, starts.first, starts.at_ms, starts.value * 1000.0)
    return _given_to(orphans, _process(orphans), starts, _process(starts.labels))


def startups(inquiry: Inquiry, births: SampleSet) -> SampleSet:
    """Return how many seconds processes took to make the counters that were born in the window.

    An engine makes its counters when the model is loaded. One series a process, of the quantity
    ``startup``, with a sample at the instant of each birth.
    """
    window = inquiry.window
    inside = (births.value >= window.start_ms) & (births.value < window.end_ms)
    rows = births.labels.iloc[births.series_of_samples()[inside]]
    born = rows.assign(born_ms=births.value[inside], process=_process(rows))
    born = born.sort_values(["process", "born_ms", "identity"], kind="stable")
    processes = born.drop_duplicates("process").reset_index(drop=True)
    span = Span(start_ms=window.start_ms, end_ms=window.end_ms)
    asks = [
        ask
        for matchers in narrowed_to(inquiry.exporter, processes)
        for ask in inquiry.asks("process_start", RAW_SAMPLES, span, matchers=matchers)
    ]
    found = concatenated(
        [answer.samples for answer in answers(inquiry.source, asks, inquiry.report)],
        COUNTER_LABELS,
    )
    process = _process(found.labels).to_numpy()[found.series_of_samples()]
    started = pd.DataFrame({"process": process, "started_ms": found.value * 1000.0})
    pairs = born[["process", "born_ms"]].drop_duplicates()
    pairs = started.drop_duplicates().merge(pairs, on="process")
    pairs = pairs.loc[pairs["started_ms"] <= pairs["born_ms"]]
    # Of several processes in one place a birth is the last one's that had started by then, and of
    # several births of one process the first is when it was ready.
    pairs = pairs.sort_values(["process", "born_ms", "started_ms"])
    pairs = pairs.drop_duplicates(["process", "born_ms"], keep="last")
    pairs = pairs.drop_duplicates(["process", "started_ms"])
    known = processes.loc[processes["process"].isin(pairs["process"])].reset_index(drop=True)
    lengths = pairs.groupby("process", sort=True).size().to_numpy(dtype=np.int64)
    labels = known[list(COUNTER_LABELS)].assign(quantity="startup")
    return SampleSet(
        labels.astype("str"),
        np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)]),
        pairs["born_ms"].to_numpy().astype(np.int64),
        ((pairs["born_ms"] - pairs["started_ms"]) / 1000.0).to_numpy(dtype=np.float64),
    )


def _given_to(
    children: pd.DataFrame, child_keys: pd.Series, parents: SampleSet, parent_keys: pd.Series
) -> SampleSet:
    """Return the parents' samples once for each child with the same key, under its labels.

    Copies among the parents are passed over: of one key the first series counts.
    """
    rows = pd.Series(np.arange(len(parents.labels)), index=parent_keys.to_numpy())
    rows = rows[~rows.index.duplicated()]
    parent = rows.reindex(child_keys.to_numpy()).to_numpy(dtype=np.float64)
    has = ~np.isnan(parent)
    chosen = parent[has].astype(np.int64)
    lengths = np.diff(parents.first)[chosen]
    first = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths, dtype=np.int64)])
    source = np.repeat(parents.first[:-1][chosen] - first[:-1], lengths) + np.arange(first[-1])
    labels = children[has].reset_index(drop=True)
    return SampleSet(labels, first, parents.at_ms[source], parents.value[source])


def _process(labels: pd.DataFrame) -> pd.Series:
    """Name a process by its pod and address: a sidecar of the pod is another one."""
    return labels["namespace"] + "/" + labels["pod"] + "/" + labels["target"]
