"""The files of inference engines: which there are, their schema, and what is refused in them."""

import re
from dataclasses import replace
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from app.sources.catalogue.meanings import Alias, Exporter, Layer, Meaning, MetricType

# In the order in which they are asked. An engine that others wrap comes before them.
ENGINES = (
    "vllm",
    "sglang",
    "tgi",
    "trtllm_serve",
    "nim",
    "lmdeploy",
    "llamacpp",
    "tei",
    "triton",
    "dynamo_worker",
    "dynamo",
    "kserve",
    "ollama",
    "infinity",
)

# What an engine can tell, how each is published, and in which unit it is kept.
KNOWN_MEANINGS = {
    "prompt_tokens": MetricType.COUNTER,
    "cached_prompt_tokens": MetricType.COUNTER,
    "generation_tokens": MetricType.COUNTER,
    "reasoning_tokens": MetricType.COUNTER,
    "requests": MetricType.COUNTER,
    "time_to_first_token": MetricType.HISTOGRAM,
    "inter_token": MetricType.HISTOGRAM,
    "end_to_end": MetricType.HISTOGRAM,
    "queue_time": MetricType.HISTOGRAM,
    "running": MetricType.GAUGE,
    "waiting": MetricType.GAUGE,
    "cache_usage": MetricType.GAUGE,
    "startup": MetricType.GAUGE,
    "adapters": MetricType.GAUGE,
    "process_start": MetricType.GAUGE,
}
# How a request ended. ``success`` is told where the engine does not say whether by a stop or by
# length.
OUTCOMES = ("stop", "length", "abort", "error", "repetition", "success")
# Where the labels of a target come from unless a file says otherwise.
_USUAL_LABELS = {
    "namespace": ("namespace", "kubernetes_namespace"),
    "pod": ("pod", "kubernetes_pod_name", "pod_name"),
    "target": ("instance",),
    "le": ("le",),
}
# UTF-8 names are allowed, but not what no name has: blanks, quotes, braces, unprintable characters.
_METRIC_NAME = re.compile(r"[^\s\"'`{}()\[\],=~\\]{1,200}\Z")
_LABEL_NAME = re.compile(r"[^\s\"'`{}=,~!\\]{1,200}\Z")
_WORD = re.compile(r"[a-z][a-z0-9_.-]{0,62}\Z")


def _metric_name(name: str) -> str:
    if not _METRIC_NAME.match(name) or not name.isprintable() or name[0].isdigit():
        message = f"{name!r} is no name of a metric, as vllm:prompt_tokens_total is"
        raise ValueError(message)
    return name


def _label_name(name: str) -> str:
    if not _LABEL_NAME.match(name) or not name.isprintable():
        message = f"{name!r} is no name of a label, as model_name is"
        raise ValueError(message)
    return name


def _word(name: str) -> str:
    if not _WORD.match(name):
        message = f"{name!r} is no name: small letters, digits, '_', '-' and '.' after a letter"
        raise ValueError(message)
    return name


def _outcome(word: str) -> str:
    if word not in OUTCOMES:
        message = f"{word!r} is no outcome; known are {', '.join(OUTCOMES)}"
        raise ValueError(message)
    return word


_MetricName = Annotated[str, AfterValidator(_metric_name)]
_LabelName = Annotated[str, AfterValidator(_label_name)]
_Word = Annotated[str, AfterValidator(_word)]
_Outcome = Annotated[str, AfterValidator(_outcome)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EngineAlias(_Part):
    """One published name; ``where`` chooses among its series by the values of labels."""

    name: _MetricName
    scale: float = Field(default=1.0, gt=0)
    since: str = ""
    until: str = ""
    where: dict[_LabelName, Annotated[tuple[str, ...], Field(min_length=1)]] = {}
    outcome: _Outcome | None = None


class EngineMeaning(_Part):
    """One quantity; a meaning of another name is ``part_of`` one of them and adds to it."""

    name: _Word
    type: MetricType
    unit: str = Field(min_length=1)
    reason: str = Field(min_length=1)
    aliases: tuple[EngineAlias, ...]
    highest: float | None = None
    blanks: tuple[float, ...] = ()
    part_of: str = ""
    needed: bool = False

    @model_validator(mode="after")
    def _is_a_known_meaning(self) -> Self:
        quantity = self.part_of or self.name
        if not self.aliases:
            message = f"{self.name} has no aliases, the names under which it is published"
            raise ValueError(message)
        if quantity not in KNOWN_MEANINGS:
            known = ", ".join(KNOWN_MEANINGS)
            message = f"{quantity!r} is no meaning of an engine; known are {known}"
            raise ValueError(message)
        if self.type is not KNOWN_MEANINGS[quantity]:
            message = f"{quantity} is read from a {KNOWN_MEANINGS[quantity]}, not a {self.type}"
            raise ValueError(message)
        return self


class EngineFile(_Part):
    """One engine, as a file of the catalogue or an entry ``[[engines]]`` of gpuledger.toml has it.

    For what the fields mean see `Exporter`; labels of the target are known without being named.
    ``prefixes`` are other beginnings of the names that begin with the first of them.
    """

    engine: _Word
    layer: Layer = Layer.ENGINE
    labels: dict[_Word, tuple[_LabelName, ...]] = {}
    meanings: tuple[EngineMeaning, ...] = ()
    recognized_by: tuple[_MetricName, ...] = ()
    requires_labels: tuple[_LabelName, ...] = ()
    router_labels: tuple[_LabelName, ...] = ()
    copy_labels: tuple[_LabelName, ...] = ()
    wraps: tuple[str, ...] = ()
    outcomes: dict[str, _Outcome] = {}
    prefixes: tuple[_MetricName, ...] = ()
    digits: int = Field(default=0, ge=0, le=17)
    publishes_nothing: str = ""

    @model_validator(mode="after")
    def _says_something_once(self) -> Self:
        if bool(self.meanings) == bool(self.publishes_nothing):
            message = "an engine has meanings, or publishes_nothing says why it has none"
            raise ValueError(message)
        for what, names in (
            ("meanings", [meaning.name for meaning in self.meanings]),
            *(
                ("aliases", [_with_labels(alias) for alias in meaning.aliases])
                for meaning in self.meanings
            ),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                message = f"{what} have {twice[0]!r} twice"
                raise ValueError(message)
        return self


def engine_of(parsed: EngineFile) -> Exporter:
    """Return what a file says as a value."""
    return Exporter(
        name=parsed.engine,
        meanings=tuple(_meaning(meaning, parsed.prefixes) for meaning in parsed.meanings),
        labels=tuple({**_USUAL_LABELS, **parsed.labels}.items()),
        layer=parsed.layer,
        recognized_by=parsed.recognized_by,
        requires_labels=parsed.requires_labels,
        router_labels=parsed.router_labels,
        copy_labels=parsed.copy_labels,
        wraps=parsed.wraps,
        outcomes=tuple(parsed.outcomes.items()),
        prefixes=parsed.prefixes,
        digits=parsed.digits,
        publishes_nothing=parsed.publishes_nothing,
    )


def _meaning(parsed: EngineMeaning, prefixes: tuple[str, ...]) -> Meaning:
    aliases = tuple(
        spelled for alias in parsed.aliases for spelled in _spellings(_alias(alias), prefixes)
    )
    return Meaning(
        name=parsed.name,
        type=parsed.type,
        unit=parsed.unit,
        reason=parsed.reason,
        aliases=aliases,
        highest=parsed.highest,
        blanks=parsed.blanks,
        part_of=parsed.part_of,
        needed=parsed.needed,
    )


def _alias(parsed: EngineAlias) -> Alias:
    return Alias(
        name=parsed.name,
        scale=parsed.scale,
        since=parsed.since,
        until=parsed.until,
        where=tuple(parsed.where.items()),
        outcome=parsed.outcome or "",
    )


def _spellings(alias: Alias, prefixes: tuple[str, ...]) -> tuple[Alias, ...]:
    """Return the alias, and once more for each other prefix that its name may have."""
    if not prefixes or not alias.name.startswith(prefixes[0]):
        return (alias,)
    rest = alias.name.removeprefix(prefixes[0])
    others = (replace(alias, name=f"{prefix}{rest}", respelled=True) for prefix in prefixes[1:])
    return (alias, *others)


def _with_labels(alias: EngineAlias) -> str:
    return alias.name + "".join(
        f"{{{label}={'|'.join(values)}}}" for label, values in sorted(alias.where.items())
    )
