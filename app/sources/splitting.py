"""Questions too large for one answer: cut by time, then by labels, and put together again."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from app.sources.backends import Backend
from app.sources.bodies import matrix_text
from app.sources.matrices import Gatherer, Matrix, collector_paused
from app.sources.native_histograms import NativeSeries
from app.sources.prometheus import (
    PrometheusAnswerBroken,
    PrometheusError,
    PrometheusRefused,
    PrometheusSource,
    PrometheusTooMuch,
)
from app.sources.promql import Query, any_of, before, none_of

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
    "k8s.pod.name",
    "service.instance.id",
    "le",
)
# Characters of the names in one condition; VictoriaMetrics takes no query of more than 16 KiB, and
# one is narrowed several times.
_LONGEST_LIST = 2_000


# Queries whose answers are one matrix: one query, or the same about several spans.
Question = tuple[Query, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """The united answer to a question.

    ``trouble`` says what is missing from it, '' if nothing; ``repaired`` is how many label values
    could not be taken as they were.
    """

    matrix: Matrix
    trouble: str
    repaired: int = 0


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
        asked = questions[0] if questions else ()
        for question in questions[1:]:
            outcome = _outcome(coming.pop())
            coming.append(pool.submit(_fetch_all, source, question))
            yield _read(source, asked, outcome)
            asked = question
        if coming:
            yield _read(source, asked, _outcome(coming.pop()))


@dataclass(frozen=True, slots=True)
class _Piece:
    query: Query
    body: bytes


@dataclass(frozen=True, slots=True)
class _Outcome:
    pieces: list[_Piece]
    trouble: str


def _outcome(coming: "Future[list[_Piece]]") -> _Outcome:
    try:
        return _Outcome(coming.result(), "")
    except (PrometheusRefused, PrometheusAnswerBroken) as error:
        return _Outcome([], str(error))


def _fetch_all(source: PrometheusSource, question: Question) -> list[_Piece]:
    return [piece for query in question for piece in _fetch(source, query)]


def _fetch(source: PrometheusSource, query: Query, depth: int = 0) -> list[_Piece]:
    try:
        return [_Piece(query, source.fetch(query.text(source.dialect), query.at_ms))]
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
                label,
                start_ms=query.start_ms,
                end_ms=query.end_ms,
                match=query.selector.text(source.dialect),
            )
        )
        if len(values) > 1:
            first_half = tuple(values[: len(values) // 2])
            # The second half is everything else, also series that do not have the label.
            if sum(map(len, first_half)) <= _LONGEST_LIST:
                halves = any_of(label, first_half), none_of(label, first_half)
            else:
                halves = before(label, first_half, values[len(first_half)])
            return query.where(halves[0]), query.where(halves[1])
    return in_time if query.is_raw and span_ms > 1 else ()


@dataclass(slots=True)
class _Reading:
    """What the pieces of one question have given so far."""

    gatherer: Gatherer = field(default_factory=Gatherer)
    native: NativeSeries = field(default_factory=NativeSeries)
    troubles: list[str] = field(default_factory=list)
    repaired: int = 0


def _read(source: PrometheusSource, question: Question, outcome: _Outcome) -> Gathered:
    reading = _Reading()
    reading.troubles += [outcome.trouble] if outcome.trouble else []
    # From the end, so that each body is freed once it was read.
    pieces = outcome.pieces
    pieces.reverse()
    while pieces:
        piece = pieces.pop()
        try:
            # The decoded answer is gone again before the collector could walk through it.
            with collector_paused():
                _take(source, piece, reading)
        except PrometheusError as error:
            reading.troubles.append(str(error))
    matrix = reading.gatherer.finish()
    if source.build_info().backend is Backend.VICTORIA_METRICS:
        # It hands out the marks of a series' end, which others leave out, and as NaN.
        matrix = matrix.keep_samples(~np.isnan(matrix.value)).without_empty()
    if question:
        selector = question[0].selector
        if question[0].is_raw:
            matrix = reading.native.take_ranges(matrix, selector)
        matrix = reading.native.joined(matrix, selector)
        digits = question[0].template.digits
        matrix = matrix.rounded(digits) if digits else matrix
    # Pieces of one question mostly have the same to say.
    trouble = " ".join(dict.fromkeys(reading.troubles))
    return Gathered(matrix=matrix, trouble=trouble, repaired=reading.repaired)


def _take(source: PrometheusSource, piece: _Piece, reading: _Reading) -> None:
    """Decode one piece, and note what the server says is wrong with it."""
    query = piece.query
    span = query.start_ms, query.end_ms
    about = f"query {query.promql}"
    # A series may have plain samples and histograms, of which that would see the former only.
    text = None if query.selector.native else matrix_text(piece.body)
    answer = source.decode(text.envelope if text else piece.body, query.promql)
    if text is not None and len(text.lengths) == len(answer.result):
        labels = [series["metric"] for series in answer.result]
        reading.gatherer.add_pairs(labels, text.lengths, text.pairs, *span)
    else:
        # Series without plain samples are among them, or the body is none of a matrix.
        answer = answer if text is None else source.decode(piece.body, query.promql)
        try:
            floats = reading.native.take(answer.result, query.selector, *span)
            reading.gatherer.add(floats, *span)
        except (ValueError, TypeError, KeyError) as error:
            why = f"a series is wrong ({error!r})"
            raise source.broken(about, why) from error
    reading.troubles += answer.warnings
    if answer.is_partial:
        reading.troubles.append("The server says that the answer is partial.")
    reading.repaired += answer.repaired
