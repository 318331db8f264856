"""What exporters and engines call things: names, units and labels, read from the files beside."""

import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from app.errors import GpuledgerError


class CatalogueError(GpuledgerError):
    """A catalogue file lacks a meaning that the code asks for."""


class MetricType(StrEnum):
    """How a metric's samples are to be read."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """One published name of a meaning; ``scale`` turns its unit into the meaning's."""

    name: str
    scale: float = 1.0
    since: str = ""
    until: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """A quantity and the names it has or had, the preferred one first.

    ``highest`` is the largest possible value after scaling, ``blanks`` are values before scaling
    that stand for "not known".
    """

    name: str
    type: MetricType
    unit: str
    reason: str
    aliases: tuple[Alias, ...]
    highest: float | None = None
    blanks: tuple[float, ...] = ()

    def published(self, names: Collection[str]) -> tuple[Alias, ...]:
        """Return the aliases that are among the metric names of a server, preferred first."""
        return tuple(alias for alias in self.aliases if self.series_name(alias) in names)

    def series_name(self, alias: Alias) -> str:
        """Return the name of the series that carry the quantity: a histogram's are its buckets."""
        return f"{alias.name}_bucket" if self.type is MetricType.HISTOGRAM else alias.name

    def birth_name(self, alias: Alias) -> str:
        """Return the name of the series that tell when a counter or histogram was created."""
        return f"{alias.name.removesuffix('_total')}_created"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """One file: the meanings of an exporter and how it names labels and unknown values.

    ``own_pods`` are parts of the names under which the exporter's own pods run.
    """

    name: str
    meanings: tuple[Meaning, ...]
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    own_pods: tuple[str, ...] = ()
    blank_at_least: float | None = None
    blank_values: tuple[float, ...] = ()
    resources: tuple[tuple[str, str], ...] = ()

    def meaning(self, name: str) -> Meaning:
        """Return the meaning called ``name``."""
        for meaning in self.meanings:
            if meaning.name == name:
                return meaning
        message = f"The catalogue of {self.name} has no meaning {name!r}."
        raise CatalogueError(message, hint="Add it to the file under app/sources/catalogue.")

    def label_names(self, field: str) -> tuple[str, ...]:
        """Return the label names that may hold ``field``, the preferred one first.

        Where the scraper's own labels win (honorLabels false), what the exporter says stands under
        the same name with ``exported_`` before it; so that one comes first.
        """
        for name, candidates in self.labels:
            if name == field:
                return tuple(f"exported_{label}" for label in candidates) + candidates
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All exporters and engines that the collector knows."""

    dcgm: Exporter
    vllm: Exporter
    kube_state_metrics: Exporter


def load_catalogue() -> Catalogue:
    """Read the files of this package."""
    return Catalogue(
        dcgm=read_exporter("dcgm.toml"),
        vllm=read_exporter("vllm.toml"),
        kube_state_metrics=read_exporter("kube_state_metrics.toml"),
    )


def read_exporter(file_name: str) -> Exporter:
    """Read one file of this package; refuses unknown keys."""
    text = files(__name__).joinpath(file_name).read_text(encoding="utf-8")
    parsed = _File.model_validate(tomllib.loads(text))
    return Exporter(
        name=parsed.exporter,
        meanings=parsed.meanings,
        labels=tuple(parsed.labels.items()),
        own_pods=parsed.own_pods,
        blank_at_least=parsed.blanks.at_least,
        blank_values=parsed.blanks.values,
        resources=tuple(parsed.resources.items()),
    )


class _Blanks(BaseModel):
    model_config = ConfigDict(extra="forbid")

    at_least: float | None = None
    values: tuple[float, ...] = ()


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    exporter: str
    meanings: tuple[Meaning, ...]
    own_pods: tuple[str, ...] = ()
    labels: dict[str, tuple[str, ...]] = {}
    blanks: _Blanks = _Blanks()
    resources: dict[str, str] = {}
