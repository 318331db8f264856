"""What pods that hold devices say about the models they serve, and when they came to life."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from app.units.window import Window
from app.usage.identity import workload_id
from app.usage.inventory import PodHold
from app.usage.label_names import mangled
from app.usage.models import ModelEntry

# Keys beside a pod's labels, under which it is carried what its containers say; no label can be
# called like this. Names stand one a line, the served one first; an instant is in milliseconds.
SERVED_MODELS = "gpuledger:served-models"
LORA_ADAPTERS = "gpuledger:lora-adapters"
ENGINE = "gpuledger:engine"
CONTAINERS_STARTED = "gpuledger:containers-started"

# What a platform team puts on pods whose engine does not say which model it serves.
MODEL_LABEL = "gpuledger.io/model"
# AIBrix and llm-d name the model on the pods they make.
_MODEL_LABELS = ("model.aibrix.ai/name", "llm-d.ai/model")
# All that a model's names are read from, as it may be written.
NAMING_LABELS = (
    *(SERVED_MODELS, LORA_ADAPTERS),
    *(form(name) for name in (MODEL_LABEL, *_MODEL_LABELS) for form in (str, mangled)),
)
# Which part of the work a pod of a disaggregated service does: as a platform team says, llm-d and
# KServe, Dynamo (whose older versions say it as a sub-component), AIBrix.
_ROLE_LABELS = (
    "gpuledger.io/role",
    "llm-d.ai/role",
    "nvidia.com/dynamo-component-type",
    "nvidia.com/dynamo-sub-component-type",
    "role-name",
)
# What unites pods of a service whatever they do: a frontend or head has it as well.
_UNITING_LABELS = (
    "gpuledger.io/service",
    "nvidia.com/dynamo-graph-deployment-name",
    "serving.kserve.io/inferenceservice",
    "ray.io/cluster",
    "leaderworkerset.sigs.k8s.io/name",
    "storm-service-name",
)
ROLES = ("prefill", "decode")

# Engines that have no counter of tokens at all, by the names that the catalogue gives them.
PUBLISHES_NOTHING = frozenset({"ollama", "infinity"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingPod:
    """A pod that holds devices: ``models`` are names of the one it serves, the first is canonical.

    ``born_ms`` is the earliest instant at which a process in it can have begun, None where that is
    not known exactly. ``role`` is "prefill", "decode" or "". ``engine`` is '' where nothing in the
    pod looks like one. ``united_by`` are labels that all pods of a service share, also those
    without devices, under the names that Prometheus gives them.
    """

    namespace: str
    pod: str
    workload_id: int
    start_ms: int
    end_ms: int
    born_ms: int | None
    role: str = ""
    engine: str = ""
    models: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()
    united_by: tuple[tuple[str, str], ...] = ()

    def touches(self, window: Window) -> bool:
        """Say whether the pod held anything in the window."""
        return self.start_ms < window.end_ms and self.end_ms > window.start_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModels:
    """What is known of models beside what engines publish: by pods, and by a person's entries."""

    pods: tuple[ServingPod, ...] = ()
    entries: tuple[ModelEntry, ...] = ()


NOTHING_KNOWN = KnownModels()


def serving_pods(cluster: str, holds: Iterable[PodHold]) -> tuple[ServingPod, ...]:
    """Return the pods of holds, each once, in the order of their start and UID.

    Of a pod's several holds or parts of one the first start and the last end count.
    """
    by_uid: dict[str, list[PodHold]] = {}
    for hold in holds:
        by_uid.setdefault(hold.pod_uid, []).append(hold)
    pods = [(uid, _pod(cluster, parts)) for uid, parts in by_uid.items()]
    return tuple(pod for _, pod in sorted(pods, key=lambda pair: (pair[1].start_ms, pair[0])))


def entry_of(labels: Mapping[str, str]) -> ModelEntry | None:
    """Return what a pod's labels tell a `ModelTable`, None if they name no model."""
    names = _models(labels)
    if not names:
        return None
    return ModelEntry(name=names[0], aliases=names[1:], adapters=_lines(labels, LORA_ADAPTERS))


def entries_of(pods: Sequence[ServingPod]) -> tuple[ModelEntry, ...]:
    """Return what the pods tell a `ModelTable`, equal entries once, in order."""
    entries = {
        ModelEntry(name=pod.models[0], aliases=pod.models[1:], adapters=pod.adapters)
        for pod in pods
        if pod.models
    }
    return tuple(sorted(entries, key=lambda one: (one.name, one.aliases, one.adapters)))


def _pod(cluster: str, parts: Sequence[PodHold]) -> ServingPod:
    ordered = sorted(parts, key=lambda hold: (hold.start_ms, hold.resource))
    first = ordered[0]
    # A part that is over has its labels as they were then.
    labels = {name: text for hold in ordered for name, text in hold.labels}
    return ServingPod(
        namespace=first.namespace,
        pod=first.pod,
        workload_id=workload_id(cluster, first.workload),
        start_ms=first.start_ms,
        end_ms=max(hold.end_ms for hold in parts),
        born_ms=_born(ordered),
        role=next((role for role in _first_of(labels, _ROLE_LABELS) if role in ROLES), ""),
        engine=labels.get(ENGINE, ""),
        models=_models(labels),
        adapters=_lines(labels, LORA_ADAPTERS),
        united_by=tuple(
            (mangled(name), value)
            for name in _UNITING_LABELS
            for value in _first_of(labels, (name,))
        ),
    )


def _models(labels: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the model that a pod serves; what a person put on it comes first."""
    stated, made = _first_of(labels, (MODEL_LABEL,)), _first_of(labels, _MODEL_LABELS)
    return tuple(dict.fromkeys((*stated, *_lines(labels, SERVED_MODELS), *made)))


def _born(parts: Sequence[PodHold]) -> int | None:
    """Return the start of the pod's containers, else its binding to the node; None if unsure."""
    said = [dict(hold.labels).get(CONTAINERS_STARTED, "") for hold in parts]
    started = [int(text) for text in said if text.isdecimal()]
    if started:
        return min(started)
    return parts[0].scheduled_ms if not parts[0].start_unsure_ms else None


def _first_of(labels: Mapping[str, str], names: Sequence[str]) -> tuple[str, ...]:
    """Return the values of labels, which kube-state-metrics writes under other names."""
    return tuple(
        value for name in names if (value := labels.get(name) or labels.get(mangled(name), ""))
    )


def _lines(labels: Mapping[str, str], key: str) -> tuple[str, ...]:
    return tuple(labels.get(key, "").splitlines())
