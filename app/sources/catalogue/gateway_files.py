"""The files of gateways: whose counters tell who sent tokens, to which model, through them."""

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from app.sources.catalogue.meanings import Alias, Exporter, Meaning, MetricType

# In the order in which they are asked: a series that several could mean is the first one's, and
# what only some programs publish under a common name (`claims`) comes before what anybody does.
GATEWAYS = (
    "litellm",
    "envoy_ai_gateway",
    "opentelemetry",
    "inference_extension",
    "kong",
    "agentgateway",
    "higress",
)
# What a gateway can count, and the fields that it can tell of who sent the tokens and where to.
QUANTITIES = (
    "prompt_tokens",
    "cached_prompt_tokens",
    "generation_tokens",
    "reasoning_tokens",
    "requests",
)
FIELDS = (
    "team",
    "key_alias",
    "end_user",
    "model",
    "target_model",
    "cluster",
    "backend_namespace",
    "backend",
    "backend_host",
)
_REPLICA = (
    ("namespace", ("namespace", "kubernetes_namespace")),
    ("pod", ("pod", "kubernetes_pod_name", "pod_name")),
    ("target", ("instance",)),
    ("outcome", ()),
    ("le", ()),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """One gateway: its counters as an `Exporter`, and what its labels tell.

    ``fields`` are label names by field, the preferred one first; ``own`` are further labels by
    which the gateway tells its series apart. ``nobody`` are values that stand for no identity.
    With ``claims`` only series with one of these labels are the gateway's ('*' is any value).
    Identities beyond team and key alias are read only with ``end_users``.
    """

    name: str
    exporter: Exporter
    fields: tuple[tuple[str, tuple[str, ...]], ...]
    own: tuple[str, ...] = ()
    nobody: tuple[str, ...] = ()
    claims: tuple[tuple[str, tuple[str, ...]], ...] = ()
    end_users: bool = False

    def quantities(self) -> tuple[str, ...]:
        """Return what the gateway counts, in the order of `QUANTITIES`."""
        there = {meaning.name for meaning in self.exporter.meanings}
        return tuple(one for one in QUANTITIES if self.meaning_name(one) in there)

    def meaning_name(self, quantity: str) -> str:
        """Return what the meaning of a quantity is called in evidence and notes."""
        return f"{self.name}.{quantity}"

    def label_names(self) -> frozenset[str]:
        """Return every label that says something about the tokens."""
        names = {name for _, candidates in self.fields for name in candidates} | {*self.own}
        return frozenset(names | {label for label, _ in self.claims})


def _label(name: str) -> str:
    if not name or not name.isprintable() or any(sign in name for sign in "\"'{}=, "):
        message = f"{name!r} is no name of a label or metric"
        raise ValueError(message)
    return name


def _word(name: str) -> str:
    if not name.replace("_", "").replace("-", "").isalnum() or not name.isascii():
        message = f"{name!r} is no name: letters, digits, '_' and '-'"
        raise ValueError(message)
    return name


def _quantity(name: str) -> str:
    if name not in QUANTITIES:
        message = f"{name!r} is nothing that gateways count; known are {', '.join(QUANTITIES)}"
        raise ValueError(message)
    return name


def _field(name: str) -> str:
    if name not in FIELDS:
        message = f"{name!r} is no field of a gateway; known are {', '.join(FIELDS)}"
        raise ValueError(message)
    return name


_Label = Annotated[str, AfterValidator(_label)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GatewaySeries(_Part):
    """One published name; ``where`` chooses among its series by the values of labels."""

    name: _Label
    where: dict[_Label, str] = {}
    since: str = ""
    until: str = ""


class GatewayQuantitySeries(_Part):
    """One quantity and the names it has or had, the preferred one first."""

    name: Annotated[str, AfterValidator(_quantity)]
    reason: str = ""
    series: tuple[GatewaySeries, ...] = Field(min_length=1)


class _Own(_Part):
    labels: tuple[_Label, ...] = ()


class GatewayFile(_Part):
    """One gateway, as a file of the catalogue or an entry ``[[gateways]]`` has it.

    An entry with the name of a shipped file changes it: its ``labels`` come before the file's, and
    its ``quantities``, if there are any, stand in place of the file's.
    """

    gateway: Annotated[str, AfterValidator(_word)]
    labels: dict[Annotated[str, AfterValidator(_field)], tuple[_Label, ...]] = {}
    quantities: tuple[GatewayQuantitySeries, ...] = ()
    own: _Own = _Own()
    nobody: tuple[str, ...] = ()
    claims: dict[_Label, tuple[str, ...]] = {}
    end_users: bool = False

    @model_validator(mode="after")
    def _counts_each_once(self) -> Self:
        names = [quantity.name for quantity in self.quantities]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            message = f"quantities have {twice[0]!r} twice"
            raise ValueError(message)
        if self.gateway not in GATEWAYS and "generation_tokens" not in names:
            message = f"the gateway {self.gateway!r} counts no generation_tokens"
            raise ValueError(message)
        return self


def load_gateways(custom: tuple[GatewayFile, ...] = ()) -> tuple[Gateway, ...]:
    """Read the shipped files, changed by the user's entries; entries of other names come first."""
    changes = {entry.gateway: entry for entry in custom}
    shipped = [_changed(read_gateway(name), changes.pop(name, None)) for name in GATEWAYS]
    return tuple(gateway_of(parsed) for parsed in (*changes.values(), *shipped))


def read_gateway(name: str) -> GatewayFile:
    """Read one file of this package; refuses unknown keys."""
    folder = files(__name__.rpartition(".")[0]).joinpath("gateways")
    text = folder.joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return GatewayFile.model_validate(tomllib.loads(text))


def gateway_of(parsed: GatewayFile) -> Gateway:
    """Return what a file says as a value."""
    models = (*parsed.labels.get("target_model", ()), *parsed.labels.get("model", ()))
    exporter = Exporter(
        name=parsed.gateway,
        meanings=(*(_meaning(parsed.gateway, one) for one in parsed.quantities), _PROCESS_START),
        # A label of the model is what makes series those of counters; the fields are read apart.
        labels=(*_REPLICA, ("model", tuple(dict.fromkeys(models)) or ("model",))),
    )
    return Gateway(
        name=parsed.gateway,
        exporter=exporter,
        fields=tuple(parsed.labels.items()),
        own=parsed.own.labels,
        nobody=tuple(word.lower() for word in parsed.nobody),
        claims=tuple(parsed.claims.items()),
        end_users=parsed.end_users,
    )


_PROCESS_START = Meaning(
    name="process_start",
    type=MetricType.GAUGE,
    unit="seconds since the epoch",
    reason="Birth of the process, where a counter has no _created series of its own.",
    aliases=(Alias(name="process_start_time_seconds"),),
)


def _meaning(gateway: str, parsed: GatewayQuantitySeries) -> Meaning:
    return Meaning(
        name=f"{gateway}.{parsed.name}",
        type=MetricType.COUNTER,
        unit="requests" if parsed.name == "requests" else "tokens",
        reason=parsed.reason,
        aliases=tuple(
            Alias(
                name=series.name,
                since=series.since,
                until=series.until,
                where=tuple((label, (value,)) for label, value in series.where.items()),
            )
            for series in parsed.series
        ),
    )


def _changed(shipped: GatewayFile, entry: GatewayFile | None) -> GatewayFile:
    if entry is None:
        return shipped
    labels = dict(shipped.labels)
    for field, names in entry.labels.items():
        labels[field] = tuple(dict.fromkeys([*names, *labels.get(field, ())]))
    return shipped.model_copy(
        update={
            "labels": labels,
            "quantities": entry.quantities or shipped.quantities,
            "own": _Own(labels=(*shipped.own.labels, *entry.own.labels)),
            "nobody": (*shipped.nobody, *entry.nobody),
            "claims": entry.claims or shipped.claims,
            "end_users": entry.end_users,
        }
    )
