"""Questions too large for one answer: cut by time, then by labels, and put together again."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from app.sources.bodies import matrix_text
from app.sources.matrices import Gatherer, Matrix, collector_paused
from app.sources.prometheus import (
    PrometheusAnswerBroken,
    PrometheusError,
    PrometheusRefused,
    PrometheusSource,
    PrometheusTooMuch,
)
from app.sources.promql import Query, any_of, none_of

# Raw samples are cut in time down to this span, then by labels, at last in time again.
_SHORTEST_MS = 300_000
# 2¹² pieces are beyond any limit that a server would be run with.
_DEEPEST = 12
# Labels that spread the series of device and serving metrics, the most even ones first.
_SPREADING_LABELS = (
    "instance",
    "pod",
    "exported_pod",
    "node",
    "Hostname",
    "hostname",
    "UUID",
    "uid",
    "namespace",
    "exported_namespace",
    "le",
)


# Queries whose answers are one matrix: one query, or the same about several spans.
Question = tuple[Query, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """The united answer to a question; ``trouble`` says what is missing from it, '' if nothing."""

    matrix: Matrix
    trouble: str


def gather(source: PrometheusSource, *queries: Query) -> Gathered:
    """Ask one question, in pieces if need be. A refusal becomes the answer's trouble."""
    return next(gather_all(source, [queries]))


def gather_all(source: PrometheusSource, questions: Sequence[Question]) -> Iterator[Gathered]:
    """Ask the questions in order; while one answer is read, the next is on its way.

    One thread fetches, so the bodies of at most two answers are in memory. A server that cannot be
    reached raises; a question that it refuses, or answers with rubbish, gives an answer with its
    trouble.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="prometheus") as pool:
        coming = [pool.submit(_fetch_all, source, question) for question in questions[:1]]
        for question in questions[1:]:
            outcome = _outcome(coming.pop())
            coming.append(pool.submit(_fetch_all, source, question))
            yield _read(source, *outcome)
        if coming:
            yield _read(source, *_outcome(coming.pop()))


@dataclass(frozen=True, slots=True)
class _Piece:
    query: Query
    body: bytes


def _outcome(coming: "Future[list[_Piece]]") -> tuple[list[_Piece], str]:
    try:
        return coming.result(), ""
    except (PrometheusRefused, PrometheusAnswerBroken) as error:
        return [], str(error)


def _fetch_all(source: PrometheusSource, question: Question) -> list[_Piece]:
    return [piece for query in question for piece in _fetch(source, query)]


def _fetch(source: PrometheusSource, query: Query, depth: int = 0) -> list[_Piece]:
    try:
        return [_Piece(query, source.fetch(query.promql, query.at_ms))]
    except PrometheusTooMuch:
        halves = _halves(source, query) if depth < _DEEPEST else ()
        if not halves:
            raise
    return [piece for half in halves for piece in _fetch(source, half, depth + 1)]


def _halves(source: PrometheusSource, query: Query) -> tuple[Query, ...]:
    """Return two questions that together ask the same, or none if it cannot be cut."""
    span_ms = query.end_ms - query.start_ms
    middle_ms = query.start_ms + span_ms // 2
    in_time = query.within(query.start_ms, middle_ms), query.within(middle_ms, query.end_ms)
    if query.is_raw and span_ms > _SHORTEST_MS:
        return in_time
    for label in _SPREADING_LABELS:
        values = sorted(
            source.label_values(
                label, start_ms=query.start_ms, end_ms=query.end_ms, match=str(query.selector)
            )
        )
        if len(values) > 1:
            first_half = tuple(values[: len(values) // 2])
            # The second half is everything else, also series that do not have the label.
            return query.where(any_of(label, first_half)), query.where(none_of(label, first_half))
    return in_time if query.is_raw and span_ms > 1 else ()


def _read(source: PrometheusSource, pieces: list[_Piece], trouble: str) -> Gathered:
    gatherer = Gatherer()
    troubles = [trouble] if trouble else []
    # From the end, so that each body is freed once it was read.
    pieces.reverse()
    while pieces:
        piece = pieces.pop()
        try:
            # The decoded answer is gone again before the collector could walk through it.
            with collector_paused():
                troubles += _take(source, piece, gatherer)
        except PrometheusError as error:
            troubles.append(str(error))
    return Gathered(matrix=gatherer.finish(), trouble=" ".join(troubles))


def _take(source: PrometheusSource, piece: _Piece, gatherer: Gatherer) -> list[str]:
    """Decode one piece into the gatherer; return what the server says is wrong with it."""
    span = piece.query.start_ms, piece.query.end_ms
    matrix = matrix_text(piece.body)
    answer = source.decode(matrix.envelope if matrix else piece.body, piece.query.promql)
    if matrix is not None and len(matrix.lengths) == len(answer.result):
        labels = [series["metric"] for series in answer.result]
        gatherer.add_pairs(labels, matrix.lengths, matrix.pairs, *span)
    else:
        # Series without plain samples are among them, or the body is none of a matrix.
        answer = answer if matrix is None else source.decode(piece.body, piece.query.promql)
        gatherer.add(answer.result, *span)
    partial = ["The server says that the answer is partial."] if answer.is_partial else []
    return [*answer.warnings, *partial]
