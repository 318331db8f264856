"""Questions about meanings: under which names, over which spans, and what the answers are worth."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto

import pandas as pd

from app.sources.catalogue import Alias, Exporter, Meaning, MetricType
from app.sources.labels import counter_labels, device_labels, object_labels, told_apart_by
from app.sources.matrices import NOTHING_DROPPED, Dropped, Matrix, cleaned
from app.sources.native_names import selector_of
from app.sources.prometheus import PrometheusSource
from app.sources.promql import Matcher, Operator, Query, Template, any_of
from app.sources.sample_sets import highest, sample_set
from app.sources.splitting import gather_all
from app.units.window import Window
from app.usage.kinds import Quantity
from app.usage.notes import Note
from app.usage.samples import SampleSet

# What the usage stage calls the meanings of a serving engine.
QUANTITIES = {
    "prompt_tokens": Quantity.PROMPT_TOKENS.name,
    "cached_prompt_tokens": Quantity.CACHED_PROMPT_TOKENS.name,
    "generation_tokens": Quantity.GENERATION_TOKENS.name,
    "reasoning_tokens": Quantity.REASONING_TOKENS.name,
    "requests": Quantity.REQUESTS.name,
    "time_to_first_token": Quantity.TIME_TO_FIRST_TOKEN_BUCKET.name,
    "inter_token": Quantity.INTER_TOKEN_BUCKET.name,
    "end_to_end": Quantity.END_TO_END_BUCKET.name,
    "queue_time": Quantity.QUEUE_TIME_BUCKET.name,
}
# What a process tells of itself has none of the labels that an engine's own series have.
_OF_PROCESSES = "process_start"


class Purpose(Enum):
    """What an answer is for."""

    SAMPLES = auto()
    BIRTHS = auto()
    RESETS = auto()
    TARGETS = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Half-open, in milliseconds."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One alias of one meaning, asked for over one or several spans."""

    exporter: Exporter
    meaning: Meaning
    alias: Alias
    purpose: Purpose
    question: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """An ask and its cleaned samples."""

    ask: Ask
    samples: SampleSet


@dataclass(frozen=True, slots=True)
class EvidenceRow:
    """Expected and seen samples of one family in the window."""

    family: str
    expected: int
    seen: int


@dataclass(slots=True)
class Report:
    """What a harvest says about itself, collected while it runs."""

    notes: list[Note] = field(default_factory=list)
    evidence: list[EvidenceRow] = field(default_factory=list)
    # How many series there were of (meaning, name).
    series: dict[tuple[str, str], int] = field(default_factory=dict)
    # Labels that tell series of one target apart, by exporter and name; see `told_apart_by`.
    own_labels: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    questions: int = 0
    partial: bool = False

    def trouble(self, family: str, what: str) -> None:
        """Record that an answer was refused, broken or incomplete."""
        self.partial = True
        self.notes.append(Note("partial", family, 1, what))


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """One exporter's metrics on one server and window."""

    source: PrometheusSource
    exporter: Exporter
    names: frozenset[str]
    window: Window
    scrape_ms: int
    report: Report

    def asks(
        self,
        meaning_name: str,
        template: Template,
        *spans: Span,
        purpose: Purpose = Purpose.SAMPLES,
        matchers: tuple[Matcher, ...] = (),
    ) -> list[Ask]:
        """Return one ask for each name under which the server has the meaning.

        Of an engine these are also the names of its parts; none, if the engine does not tell it.
        """
        engine = self.exporter.layer is not None
        meanings = (
            self.exporter.parts(meaning_name) if engine else (self.exporter.meaning(meaning_name),)
        )
        asks = []
        for meaning in meanings:
            for alias in meaning.published(self.names):
                metric = meaning.series_name(alias)
                if purpose is Purpose.BIRTHS:
                    metric = meaning.birth_name(alias)
                    if metric not in self.names:
                        continue
                narrowed = (*self._own(meaning, alias), *matchers)
                selector = selector_of(metric, self.names, narrowed)
                asks.append(
                    Ask(
                        exporter=self.exporter,
                        meaning=meaning,
                        alias=alias,
                        purpose=purpose,
                        question=tuple(
                            template.over(selector, span.start_ms, span.end_ms) for span in spans
                        ),
                    )
                )
        return asks

    def _own(self, meaning: Meaning, alias: Alias) -> tuple[Matcher, ...]:
        """Return what chooses the exporter's series among those of one name."""
        chosen = tuple(any_of(label, values) for label, values in alias.where)
        if meaning.name == _OF_PROCESSES:
            return chosen
        required = self.exporter.requires_labels
        return (*chosen, *(Matcher(label, Operator.NOT_EQUAL, "") for label in required))


def answers(source: PrometheusSource, asks: Sequence[Ask], report: Report) -> Iterator[Answered]:
    """Ask everything in order, the next body on its way while one is read."""
    gathered = gather_all(source, [ask.question for ask in asks])
    for ask, answer in zip(asks, gathered, strict=True):
        report.questions += 1
        if answer.trouble:
            report.trouble(ask.meaning.name, answer.trouble)
        matrix = answer.matrix
        dropped = NOTHING_DROPPED
        match ask.purpose:
            case Purpose.SAMPLES:
                matrix, dropped = cleaned(matrix, ask.exporter, ask.meaning, _unit_of(ask))
            case Purpose.BIRTHS:
                # Seconds since the epoch as published, milliseconds here.
                milliseconds = replace(ask.alias, scale=1000.0)
                matrix, dropped = cleaned(matrix, ask.exporter, ask.meaning, milliseconds)
            case Purpose.RESETS | Purpose.TARGETS:
                pass
        _note_dropped(ask, dropped, report)
        _note_repaired(ask, answer.repaired, report)
        if ask.purpose is Purpose.SAMPLES:
            key = (ask.meaning.name, ask.alias.name)
            report.series[key] = max(report.series.get(key, 0), len(matrix.labels))
            _note_query(ask, report)
        samples = sample_set(_labels(ask, matrix, report), matrix)
        yield Answered(ask, highest(samples) if ask.exporter.copy_labels else samples)


def chosen(
    answered: Sequence[Answered], meaning_name: str, purpose: Purpose = Purpose.SAMPLES
) -> list[SampleSet]:
    """Return the samples of a meaning, those under the preferred name first."""
    return [
        answer.samples
        for answer in answered
        if answer.ask.meaning.name == meaning_name and answer.ask.purpose is purpose
    ]


def _unit_of(ask: Ask) -> Alias:
    """Return the alias with what its values are multiplied by: buckets count, whatever the unit."""
    if ask.meaning.type is MetricType.HISTOGRAM:
        return replace(ask.alias, scale=1.0)
    return ask.alias


def _labels(ask: Ask, matrix: Matrix, report: Report) -> pd.DataFrame:
    """Return the label columns that the exporter's kind of series has."""
    if ask.exporter.layer is not None:
        return _engine_labels(ask, matrix, report)
    if ask.exporter.label_names("device"):
        return device_labels(matrix.labels, ask.exporter)
    if ask.exporter.label_names("model"):
        quantity = QUANTITIES.get(ask.meaning.name, ask.meaning.name)
        return counter_labels(matrix.labels, ask.exporter, ask.alias, quantity)
    return object_labels(matrix.labels, ask.exporter)


def _engine_labels(ask: Ask, matrix: Matrix, report: Report) -> pd.DataFrame:
    """Return `COUNTER_LABELS`; labels that no file names join the identity where they must."""
    quantity = QUANTITIES.get(ask.meaning.quantity, ask.meaning.quantity)
    part = ask.meaning.name if ask.meaning.part_of else ""
    key = (ask.exporter.name, ask.alias.name)
    chosen_by = (label for label, _ in ask.alias.where)
    known = tuple(sorted({*report.own_labels.get(key, ()), *chosen_by}))
    labels = counter_labels(
        matrix.labels, ask.exporter, ask.alias, quantity, part=part, own_labels=known
    )
    found = told_apart_by(matrix, labels["identity"], ask.exporter)
    if not set(found) - set(known):
        return labels
    report.own_labels[key] = tuple(sorted({*found, *known}))
    return counter_labels(
        matrix.labels,
        ask.exporter,
        ask.alias,
        quantity,
        part=part,
        own_labels=report.own_labels[key],
    )


def _note_query(ask: Ask, report: Report) -> None:
    """Keep what was asked, so that a charge can name its query.

    Questions about named series only repeat the first one about all of them.
    """
    own = {label for label, _ in ask.alias.where}
    for query in ask.question:
        names = (m for m in query.selector.matchers if m.label not in own)
        if not any(matcher.operator is Operator.REGEX for matcher in names):
            detail = f"{query.promql} @ {query.at_ms / 1000:.3f}"
            report.notes.append(Note("query", ask.meaning.name, len(ask.question), detail))


def _note_dropped(ask: Ask, dropped: Dropped, report: Report) -> None:
    reasons = {
        "not finite": dropped.not_finite,
        "blank values of the exporter": dropped.blank,
        "outside the possible range": dropped.impossible,
    }
    total = sum(reasons.values())
    if total:
        detail = ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count)
        metric = ask.question[0].selector.metric
        report.notes.append(Note("dropped_samples", metric, total, f"Samples left out: {detail}."))


def _note_repaired(ask: Ask, repaired: int, report: Report) -> None:
    """Say that labels are not as they were published: two series may have become one by name."""
    if repaired:
        detail = (
            "Label values that hold NUL, are not UTF-8 or are too long were changed to be kept."
        )
        report.notes.append(
            Note("label_repaired", ask.question[0].selector.metric, repaired, detail)
        )
