"""Which served model each series of an engine counts for, and which part of the work it does."""

from collections.abc import Collection, Iterable, Sequence

import pandas as pd

from app.usage.layers import ENGINE_LAYER, with_steps
from app.usage.models import MatchKind, ModelEntry, ModelTable
from app.usage.notes import Note
from app.usage.serving_pods import ServingPod, entries_of

# The kind of the notes on LoRA adapters, and how their detail begins.
ADAPTER_NOTE = "lora_adapter"
_ADAPTER_OF = "An adapter whose tokens are counted for the model "
_REPLICA = ["namespace", "pod", "target"]
_PLACE = ["namespace", "pod", "layer", "model"]


class PublishedModels:
    """Gives rows of `COUNTER_LABELS` their canonical model, and the role that their pod has.

    A model that an engine publishes is known by that name, or by the entry it is an alias of. What
    a frontend or router publishes is one of the models known in its namespace if any fits. A series
    without a model has the one of its pod.
    """

    def __init__(
        self,
        entries: Iterable[ModelEntry],
        pods: Sequence[ServingPod],
        published: Sequence[pd.DataFrame],
        adapters: Iterable[ModelEntry] = (),
    ) -> None:
        given = tuple(entries)
        self.table = ModelTable(given, (*entries_of(pods), *adapters))
        self._given = tuple(entry.name for entry in given)
        self._canonical: dict[str, str] = {}
        # Of pods of one name the one that started last counts.
        self._pods = {(pod.namespace, pod.pod): pod for pod in pods}
        places = pd.concat([labels[_PLACE] for labels in published]).drop_duplicates()
        rows = sorted(tuple(str(text) for text in row) for row in places.to_numpy().tolist())
        self._names: dict[tuple[str, ...], str] = {}
        known: dict[str, set[str]] = {}
        spelled: dict[str, str] = {}
        for row in (one for one in rows if one[2] == ENGINE_LAYER):
            name = self._engine_name(row[0], row[1], row[3])
            # An engine may be shown in two spellings by what passes its figures on.
            self._names[row] = spelled.setdefault(name.casefold(), name) if name else ""
            known.setdefault(row[0], set()).add(self._names[row])
        for pod in pods:
            if pod.models:
                own = self._engine_name(pod.namespace, pod.pod, "")
                known.setdefault(pod.namespace, set()).add(spelled.get(own.casefold(), own))
        self._known = known
        everywhere = set().union(*known.values()) if known else set()
        for row in (one for one in rows if one[2] != ENGINE_LAYER):
            # What no namespace is known of may stand before any of them.
            near = known.get(row[0], set()) if row[0] else everywhere
            self._names[row] = self._repeated_name(row, near)

    def named(self, labels: pd.DataFrame) -> pd.DataFrame:
        """Return the rows under their canonical models, and with the roles of their pods.

        Steps of a pipeline are marked as the layer that they are.
        """
        places = pd.MultiIndex.from_frame(labels[_PLACE])
        codes, unique = places.factorize()
        models = [self._names[tuple(str(text) for text in row)] for row in unique]
        own = [self._pods.get((str(row[0]), str(row[1]))) for row in unique]
        roles = pd.Series([pod.role if pod else "" for pod in own], dtype="str")
        told = labels["role"] != ""
        role = labels["role"].where(told, roles.take(codes).set_axis(labels.index))
        model = pd.Series(models, dtype="str").take(codes).set_axis(labels.index)
        return labels.assign(model=model, role=role, layer=with_steps(labels))

    def of_pod(self, pod: ServingPod) -> str:
        """Return the canonical model of a pod, '' if it says none."""
        return self._engine_name(pod.namespace, pod.pod, "")

    def unmatched(self, counters: pd.DataFrame) -> list[Note]:
        """Return a note for every replica that counts (`GROWTH`) for a model that nobody knows.

        That is one without a name, and one of a frontend beside engines that all serve others: if
        it is one of theirs under another name, its tokens are there twice.
        """
        grown = counters.loc[counters["growth"] > 0]
        beside = {space for space, models in self._known.items() if models - {""}}
        odd = [
            not model
            or (layer != ENGINE_LAYER and space in beside and model not in self._known[space])
            for layer, space, model in zip(
                grown["layer"], grown["namespace"], grown["model"], strict=True
            )
        ]
        rows = grown.loc[odd]
        replica = rows["pod"].where(rows["pod"] != "", rows["target"])
        words = (rows["quantity"] + " " + rows["model"]).str.rstrip()
        subject = rows["namespace"] + "/" + replica + " " + words
        told = pd.DataFrame({"subject": subject, "model": rows["model"], "growth": rows["growth"]})
        summed = told.groupby(["subject", "model"], as_index=False)["growth"].sum()
        return [
            Note("unmatched_model", str(who), int(much), _UNMATCHED if model else _NAMELESS)
            for who, model, much in summed.to_numpy().tolist()
        ]

    def _engine_name(self, namespace: str, pod: str, published: str) -> str:
        own = self._pods.get((namespace, pod))
        name = published
        if own is not None and own.models and name in ("", *own.models[1:]):
            name = own.models[0]
        if name not in self._canonical:
            self._canonical[name] = self._canonical_name(name)
        return self._canonical[name]

    def _canonical_name(self, published: str) -> str:
        """Return the configured model that a name means by alias, case or tag, else the name."""
        name = self.table.canonical(published)
        match = None if name in self._given else self.table.resolve(name, self._given)
        return name if match is None or match.how is MatchKind.PREFIX else match.name

    def _repeated_name(self, row: tuple[str, ...], known: Collection[str]) -> str:
        published = row[3]
        if not published:
            return self._engine_name(row[0], row[1], "")
        match = self.table.resolve(published, known)
        return self.table.canonical(published) if match is None else match.name


def no_adapters() -> pd.DataFrame:
    """Return no adapters, of no replica."""
    return pd.DataFrame({name: pd.Series([], dtype="str") for name in (*_REPLICA, "adapter")})


def running_adapters(adapters: pd.DataFrame, labels: pd.DataFrame) -> tuple[ModelEntry, ...]:
    """Return the LoRA adapters that engines name, as entries of the models they are made for.

    ``adapters`` has namespace, pod, target and adapter, ``labels`` are rows of `COUNTER_LABELS`.
    Where a replica serves several models nobody knows whose adapters they are.
    """
    if adapters.empty:
        return ()
    served: dict[tuple[str, ...], set[str]] = {}
    rows = labels.loc[(labels["layer"] == ENGINE_LAYER) & (labels["model"] != "")]
    for *place, model in rows[[*_REPLICA, "model"]].drop_duplicates().to_numpy().tolist():
        served.setdefault(tuple(place), set()).add(model)
    found: dict[str, set[str]] = {}
    for *place, adapter in adapters[[*_REPLICA, "adapter"]].to_numpy().tolist():
        models = served.get(tuple(place), set()) - {adapter}
        if len(models) == 1:
            found.setdefault(min(models), set()).add(adapter)
    return tuple(
        ModelEntry(name=model, adapters=tuple(sorted(names)))
        for model, names in sorted(found.items())
    )


def adapter_notes(adapters: Sequence[ModelEntry]) -> list[Note]:
    """Return a note for every LoRA adapter that an engine had loaded."""
    return [
        Note(ADAPTER_NOTE, adapter, 0, f"{_ADAPTER_OF}{entry.name}")
        for entry in adapters
        for adapter in entry.adapters
    ]


def adapter_entry(subject: str, detail: str) -> ModelEntry | None:
    """Return what subject and detail of one of `adapter_notes` say."""
    model = detail.removeprefix(_ADAPTER_OF)
    return ModelEntry(name=model, adapters=(subject,)) if model != detail else None


_NAMELESS = (
    "Neither the engine nor its pod says which model is served; the label gpuledger.io/model does."
)
_UNMATCHED = (
    "No engine beside it serves a model of this name; an alias in [[models]] joins two names."
)
