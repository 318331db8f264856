"""The values of the catalogue: an exporter, its meanings, and the names that they have."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from app.errors import GpuledgerError
from app.sources.native_names import is_published


class CatalogueError(GpuledgerError):
    """A catalogue file lacks a meaning that the code asks for."""


class MetricType(StrEnum):
    """How a metric's samples are to be read."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Layer(StrEnum):
    """Whose figures an engine's file describes: totals are taken from engines alone."""

    ENGINE = "engine"
    FRONTEND = "frontend"
    ROUTER = "router"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """One published name of a meaning; ``scale`` turns its unit into the meaning's.

    Of a histogram it is the bounds that are scaled, its buckets count observations. Only series
    with one of the values of each label in ``where`` are meant. ``outcome`` is how the requests
    ended that the name counts, where no label says so. A ``respelled`` name is that of another
    alias with another prefix.
    """

    name: str
    scale: float = 1.0
    since: str = ""
    until: str = ""
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()
    outcome: str = ""
    respelled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """A quantity and the names it has or had, the preferred one first.

    ``highest`` is the largest possible value after scaling, ``blanks`` are values before scaling
    that stand for "not known". What is ``part_of`` another meaning is added to it; where it is
    ``needed`` and missing, that meaning is known in part only.
    """

    name: str
    type: MetricType
    unit: str
    reason: str
    aliases: tuple[Alias, ...]
    highest: float | None = None
    blanks: tuple[float, ...] = ()
    part_of: str = ""
    needed: bool = False

    @property
    def quantity(self) -> str:
        """The name of the meaning that this one counts in."""
        return self.part_of or self.name

    def published(self, names: Collection[str]) -> tuple[Alias, ...]:
        """Return the aliases that are among the metric names of a server, preferred first."""
        return tuple(
            alias for alias in self.aliases if is_published(self.series_name(alias), names)
        )

    def series_name(self, alias: Alias) -> str:
        """Return the name of the series that carry the quantity: a histogram's are its buckets."""
        return f"{alias.name}_bucket" if self.type is MetricType.HISTOGRAM else alias.name

    def birth_name(self, alias: Alias) -> str:
        """Return the name of the series that tell when a counter or histogram was created.

        A counter that is the sum of a histogram was created with it.
        """
        return f"{alias.name.removesuffix('_total').removesuffix('_sum')}_created"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """One file: the meanings of an exporter and how it names labels and unknown values.

    ``own_pods`` are parts of the names under which the exporter's own pods run. The rest is told
    of inference engines only; others have no ``layer``. A target is the engine's if it publishes
    one of ``recognized_by`` (empty: any target) under the labels of ``requires_labels``. Series
    with one of ``router_labels`` are a router's. Series that differ in ``copy_labels`` alone repeat
    one figure. Where an engine that it ``wraps`` publishes a quantity of a pod, its own is a
    frontend's. ``outcomes`` turns published outcomes into ours. ``digits`` is how many significant
    ones its counters have, 0 for all. ``publishes_nothing`` says why a file has no meanings.
    """

    name: str
    meanings: tuple[Meaning, ...]
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    own_pods: tuple[str, ...] = ()
    blank_at_least: float | None = None
    blank_values: tuple[float, ...] = ()
    resources: tuple[tuple[str, str], ...] = ()
    layer: Layer | None = None
    recognized_by: tuple[str, ...] = ()
    requires_labels: tuple[str, ...] = ()
    router_labels: tuple[str, ...] = ()
    copy_labels: tuple[str, ...] = ()
    wraps: tuple[str, ...] = ()
    outcomes: tuple[tuple[str, str], ...] = ()
    prefixes: tuple[str, ...] = ()
    digits: int = 0
    publishes_nothing: str = ""

    def meaning(self, name: str) -> Meaning:
        """Return the meaning called ``name``."""
        for meaning in self.meanings:
            if meaning.name == name:
                return meaning
        message = f"The catalogue of {self.name} has no meaning {name!r}."
        raise CatalogueError(message, hint="Add it to the file under app/sources/catalogue.")

    def parts(self, quantity: str) -> tuple[Meaning, ...]:
        """Return the meanings that add up to a quantity, none if the exporter does not have it."""
        return tuple(meaning for meaning in self.meanings if meaning.quantity == quantity)

    def label_names(self, field: str) -> tuple[str, ...]:
        """Return the label names that may hold ``field``, the preferred one first.

        Where the scraper's own labels win (honorLabels false), what the exporter says stands under
        the same name with ``exported_`` before it; so that one comes first.
        """
        for name, candidates in self.labels:
            if name == field:
                return tuple(f"exported_{label}" for label in candidates) + candidates
        return ()
