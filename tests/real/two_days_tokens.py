"""What the services of the two days counted: by the text of the samples, by the truth, stored."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
from sqlalchemy import Connection, text

from app.simulator.pods import Pod
from tests.oracle.growth_oracle import (
    Growth,
    SeriesKey,
    families_with_births,
    growth_of,
    read_samples,
)
from tests.real.two_days import START_MS, WINDOW, TwoDays

PROMPT, CACHED, GENERATION = "prompt", "cached", "generation"
_QUANTITIES = {
    "vllm:prompt_tokens_total": PROMPT,
    "vllm:prompt_tokens_cached_total": CACHED,
    "vllm:generation_tokens_total": GENERATION,
}
_REQUESTS = "vllm:request_success_total"
_BUCKETS = "vllm:time_to_first_token_seconds_bucket"
_COLUMNS = {
    PROMPT: "prompt_tokens",
    CACHED: "cached_prompt_tokens",
    GENERATION: "generation_tokens",
    "stop": "requests_stop",
    "length": "requests_length",
    "abort": "requests_abort",
    "error": "requests_error",
}
_HOUR = 3_600_000
# No engine is silent for longer: a counter's newest earlier sample is not older than this.
_NEAR_MS = 2 * _HOUR


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """What a service counted of one kind in one hour."""

    hour_ms: int
    namespace: str
    workload: str
    model: str
    quantity: str


class Counted:
    """The growth of every counter of the history in every hour, as the oracle reads it."""

    def __init__(self, days: TwoDays) -> None:
        self._days = days
        self._pods = {(pod.namespace, pod.name): pod for pod in days.fleet.pods}
        names = families_with_births([*_QUANTITIES, _REQUESTS, _BUCKETS])
        self._samples = read_samples(days.history, names)

    @cached_property
    def by_hour(self) -> dict[int, dict[SeriesKey, Growth]]:
        """Return the growth by hour and series."""
        points = {key: sorted(found.items()) for key, found in self._samples.items()}
        found = {}
        for hour in WINDOW.hours():
            near = {
                key: dict(
                    own[
                        bisect_left(own, (hour.start_ms - _NEAR_MS,)) : bisect_left(
                            own, (hour.end_ms,)
                        )
                    ]
                )
                for key, own in points.items()
            }
            found[hour.start_ms] = growth_of(near, start_ms=hour.start_ms, end_ms=hour.end_ms)
        return found

    def lines(self) -> dict[Line, int]:
        """Return tokens, and requests by outcome, summed over a service's replicas."""
        return self._summed(buckets=False)

    def buckets(self) -> dict[Line, int]:
        """Return the increments of the time to first token; the quantity is the upper bound."""
        return self._summed(buckets=True)

    def uncounted(self, quantity: str) -> Counter[tuple[str, str]]:
        """Return the first values that are no growth, by namespace and workload."""
        total: Counter[tuple[str, str]] = Counter()
        for grown in self.by_hour.values():
            for key, growth in grown.items():
                if _QUANTITIES.get(key.name) == quantity:
                    total[key.label("namespace"), self._workload(key)] += growth.uncounted
        return total

    def scrapes(self, pod: Pod) -> list[int]:
        """Return the instants at which a pod's counters were scraped."""
        return sorted(
            {
                at_ms
                for key, points in self._samples.items()
                if key.name in _QUANTITIES and key.label("pod") == pod.name
                for at_ms in points
            }
        )

    def _summed(self, *, buckets: bool) -> dict[Line, int]:
        total: Counter[Line] = Counter()
        for hour_ms, grown in self.by_hour.items():
            for key, growth in grown.items():
                if (key.name == _BUCKETS) is not buckets:
                    continue
                quantity = _QUANTITIES.get(key.name) or key.label("finished_reason")
                line = Line(
                    hour_ms,
                    key.label("namespace"),
                    self._workload(key),
                    key.label("model_name"),
                    key.label("le") or quantity,
                )
                total[line] += growth.growth
        return dict(total)

    def _workload(self, key: SeriesKey) -> str:
        pod = self._pods[key.label("namespace"), key.label("pod")]
        assert pod.owner is not None
        return pod.owner.top().name


def stored_lines(days: TwoDays, cluster: str) -> dict[Line, int]:
    """Return the stored tokens and requests."""
    query = (
        "SELECT extract(epoch FROM window_start)::bigint * 1000 AS hour_ms, w.namespace, w.name,"
        f" coalesce(m.name, '') AS model, {', '.join(_COLUMNS.values())}"
        " FROM token_usage JOIN clusters c USING (cluster_id)"
        " JOIN workloads w USING (cluster_id, workload_id) LEFT JOIN models m USING (model_id)"
        " WHERE c.name = :cluster"
    )
    with days.engine.connect() as connection:
        return {
            Line(row.hour_ms, row.namespace, row.name, row.model, quantity): getattr(row, column)
            for row in connection.execute(text(query), {"cluster": cluster})
            for quantity, column in _COLUMNS.items()
        }


def stored_buckets(days: TwoDays, cluster: str) -> dict[Line, int]:
    """Return the stored observations of the time to first token, added up to each bound."""
    query = (
        "SELECT extract(epoch FROM window_start)::bigint * 1000 AS hour_ms, w.namespace, w.name,"
        " m.name AS model, le, sum(increments) OVER ("
        "PARTITION BY window_start, workload_id, model_id ORDER BY le)::bigint AS up_to"
        " FROM latency_usage JOIN clusters c USING (cluster_id)"
        " JOIN workloads w USING (cluster_id, workload_id) JOIN models m USING (model_id)"
        " WHERE c.name = :cluster AND metric = 1"
    )
    with days.engine.connect() as connection:
        return {
            Line(
                row.hour_ms,
                row.namespace,
                row.name,
                row.model,
                "+Inf" if row.le == float("inf") else repr(row.le),
            ): row.up_to
            for row in connection.execute(text(query), {"cluster": cluster})
        }


def stored_minutes(connection: Connection) -> pd.DataFrame:
    """Return by cluster, hour and service the minutes' sums beside the hour's."""
    query = (
        "SELECT sum(s.prompt_tokens) AS prompt_minutes, max(t.prompt_tokens) AS prompt_hour,"
        " sum(s.generation_tokens) AS generation_minutes,"
        " max(t.generation_tokens) AS generation_hour, sum(s.requests) AS request_minutes,"
        " max(t.requests_stop + t.requests_length + t.requests_abort + t.requests_error)"
        " AS request_hour FROM service_minutes s"
        " JOIN token_usage t USING (cluster_id, window_start, workload_id, model_id)"
        " GROUP BY cluster_id, window_start, workload_id, model_id"
    )
    return pd.read_sql(text(query), connection)


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What a service served in the two days since its counters were first known, and what of it
    no scrape could see: after the last scrape of each process, and at the very end.
    """

    served: int
    unseen: int


def shortfalls(days: TwoDays, counted: Counted, quantity: str) -> dict[tuple[str, str], Shortfall]:
    """Return by namespace and workload what was served, and what of it between scrapes and ends."""
    found: dict[tuple[str, str], Shortfall] = {}
    for pod in days.fleet.pods:
        if pod.service is None or pod.owner is None or not pod.runs:
            continue
        scrapes = counted.scrapes(pod)
        known = bisect_right(scrapes, START_MS - 1)
        since_ms = scrapes[known - 1] + 1 if known else START_MS
        served = _served(days, pod, quantity, since_ms, WINDOW.end_ms)
        unseen = 0
        for run in pod.runs:
            ends_ms = min(run.end_ms, WINDOW.end_ms)
            begins_ms = max(run.serving_ms, since_ms)
            if begins_ms >= ends_ms:
                continue
            last = bisect_right(scrapes, ends_ms - 1)
            seen_ms = scrapes[last - 1] + 1 if last else begins_ms
            unseen += _served(days, pod, quantity, max(seen_ms, begins_ms), ends_ms)
        key = (pod.namespace, pod.owner.top().name)
        before = found.get(key, Shortfall(0, 0))
        found[key] = Shortfall(before.served + served, before.unseen + unseen)
    return found


def served_until(
    days: TwoDays, counted: Counted, quantity: str
) -> Mapping[tuple[str, str], list[int]]:
    """Return by namespace and workload what was served until the end of each hour."""
    found: dict[tuple[str, str], list[int]] = {}
    for pod in days.fleet.pods:
        if pod.service is None or pod.owner is None or not pod.runs:
            continue
        scrapes = counted.scrapes(pod)
        known = bisect_right(scrapes, START_MS - 1)
        since_ms = scrapes[known - 1] + 1 if known else START_MS
        sums = found.setdefault((pod.namespace, pod.owner.top().name), [0] * 48)
        for number, hour in enumerate(WINDOW.hours()):
            sums[number] += _served(days, pod, quantity, since_ms, hour.end_ms)
    return found


def _served(days: TwoDays, pod: Pod, quantity: str, start_ms: int, end_ms: int) -> int:
    served = days.fleet.truth.served(pod.uid, start_ms, end_ms)
    return {
        PROMPT: served.prompt_tokens,
        CACHED: served.cached_prompt_tokens,
        GENERATION: served.generation_tokens,
    }[quantity]
