"""What exporters and engines call things: names, units and labels, read from the files beside."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from pydantic import BaseModel, ConfigDict

from app.sources.catalogue.engines import ENGINES, EngineFile, engine_of
from app.sources.catalogue.gateway_files import Gateway, GatewayFile, load_gateways
from app.sources.catalogue.meanings import (
    Alias,
    CatalogueError,
    Exporter,
    Layer,
    Meaning,
    MetricType,
)

__all__ = (
    "Alias",
    "Catalogue",
    "CatalogueError",
    "EngineFile",
    "Exporter",
    "Gateway",
    "GatewayFile",
    "Layer",
    "Meaning",
    "MetricType",
    "engine_of",
    "load_catalogue",
    "read_exporter",
    "refuse_taken_names",
)

# In the order of preference; each is a file of this package.
_DEVICE_EXPORTERS = ("dcgm", "amd", "intel", "neuron", "gke", "tpu", "hami")


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All exporters and engines that the collector knows; engines in the order they are asked.

    ``devices`` are the exporters of hardware, the preferred ones first: a device that several of
    them show is read from the first.
    """

    devices: tuple[Exporter, ...]
    engines: tuple[Exporter, ...]
    kube_state_metrics: Exporter
    gateways: tuple[Gateway, ...] = ()

    @property
    def dcgm(self) -> Exporter:
        """NVIDIA's exporter."""
        return self.devices[0]

    def engine(self, name: str) -> Exporter:
        """Return the engine called ``name``."""
        for engine in self.engines:
            if engine.name == name:
                return engine
        message = f"The catalogue has no engine {name!r}."
        raise CatalogueError(message, hint="Each file of an engine is named after it.")


def load_catalogue(
    custom: tuple[Exporter, ...] = (), gateways: tuple[GatewayFile, ...] = ()
) -> Catalogue:
    """Read the files of this package; engines of the user's own come after them."""
    return Catalogue(
        devices=tuple(read_exporter(f"{name}.toml") for name in _DEVICE_EXPORTERS),
        engines=(*(read_engine(f"{name}.toml") for name in ENGINES), *custom),
        kube_state_metrics=read_exporter("kube_state_metrics.toml"),
        gateways=load_gateways(gateways),
    )


def refuse_taken_names(custom: Sequence[EngineFile]) -> None:
    """Raise ValueError if a user's engine has the name of another, or reads what another reads."""
    taken: dict[str, str] = {}
    if custom:
        # What is recognized by more than a name may share it.
        shipped = [read_engine(f"{name}.toml") for name in ENGINES]
        taken = {
            alias.name: engine.name
            for engine in shipped
            if not engine.recognized_by
            for meaning in engine.meanings
            for alias in meaning.aliases
            if meaning.name != "process_start"
        }
    names = set(ENGINES)
    for engine in custom:
        if engine.engine in names:
            message = f"there is an engine {engine.engine!r} already"
            raise ValueError(message)
        names.add(engine.engine)
        for meaning in engine.meanings:
            for alias in meaning.aliases:
                if alias.name in taken:
                    message = f"{alias.name} is read already, as that of {taken[alias.name]}"
                    raise ValueError(message)


def read_exporter(file_name: str) -> Exporter:
    """Read one file of this package; refuses unknown keys."""
    parsed = _File.model_validate(_document(file_name))
    return Exporter(
        name=parsed.exporter,
        meanings=parsed.meanings,
        labels=tuple(parsed.labels.items()),
        own_pods=parsed.own_pods,
        blank_at_least=parsed.blanks.at_least,
        blank_values=parsed.blanks.values,
        resources=tuple(parsed.resources.items()),
    )


def read_engine(file_name: str) -> Exporter:
    """Read the file of one engine of this package; refuses unknown keys."""
    return engine_of(EngineFile.model_validate(_document(file_name)))


def _document(file_name: str) -> dict[str, object]:
    text = files(__name__).joinpath(file_name).read_text(encoding="utf-8")
    return tomllib.loads(text)


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
