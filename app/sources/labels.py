"""From an exporter's labels to the label columns of the usage stage."""

from collections.abc import Sequence

import orjson
import pandas as pd

from app.sources.catalogue import Alias, Exporter
from app.sources.matrices import Labels
from app.usage.products import canonical_model
from app.usage.samples import COUNTER_LABELS, DEVICE_LABELS

# Between the identity of a histogram and the bound of one of its buckets.
BOUND_MARK = "\n"
_SCRAPER_LABELS = ("job", "instance", "prometheus", "prometheus_replica", "replica", "receive")
_EXPORTED = ("exported_pod", "exported_namespace", "exported_container")


def device_labels(series: Sequence[Labels], exporter: Exporter) -> pd.DataFrame:
    """Return `DEVICE_LABELS`, one row a series; the holder is '' where the device has none."""
    fields = _Fields(series, exporter)
    device, instance = fields.read("device"), fields.read("instance")
    namespace, pod = fields.holders()
    models = fields.read("gpu_model")
    canonical = {model: canonical_model(model) for model in set(models)}
    columns = {
        "device": device,
        "instance": instance,
        "hostname": fields.read("hostname"),
        "node": fields.read("node"),
        "namespace": namespace,
        "pod": pod,
        "gpu_model": [canonical[model] for model in models],
        "identity": [
            "\n".join(parts) for parts in zip(device, instance, namespace, pod, strict=True)
        ],
        "series": [_text(labels) for labels in series],
    }
    return _frame(columns, DEVICE_LABELS)


def counter_labels(
    series: Sequence[Labels], exporter: Exporter, alias: Alias, quantity: str
) -> pd.DataFrame:
    """Return `COUNTER_LABELS`, one row a series.

    The identity is the replica and what the exporter itself says of the series. Any other label is
    the scraper's: a second Prometheus, a second job, pod labels that one of them copies. Where a
    pod is named, its address is the scraper's too. It begins with the alias' name instead of the
    metric's, so that a ``_created`` series has the identity of its counter; a bucket's ends with
    its bound, after `BOUND_MARK`.
    """
    fields = _Fields(series, exporter)
    told = {name: fields.read(name) for name, _ in exporter.labels}
    pod, bounds, target = told["pod"], told["le"], told["target"]
    address = ["" if name else at for name, at in zip(pod, target, strict=True)]
    own = zip(*({**told, "target": address, "le": [""] * len(series)}).values(), strict=True)
    columns = {
        **{name: told[name] for name in ("namespace", "pod", "target", "model", "outcome", "le")},
        "quantity": [quantity] * len(series),
        "identity": [
            f"{alias.name}{orjson.dumps(parts).decode()}{BOUND_MARK + bound if bound else ''}"
            for parts, bound in zip(own, bounds, strict=True)
        ],
        "series": [_text(labels) for labels in series],
    }
    return _frame(columns, COUNTER_LABELS)


def object_labels(series: Sequence[Labels], exporter: Exporter) -> pd.DataFrame:
    """Return one column a field of the exporter, ``target``, ``identity`` and ``series``.

    ``target`` is equal for series of one scrape target as seen by one Prometheus.
    """
    fields = _Fields(series, exporter)
    targets = ["\n".join(labels.get(name, "") for name in _SCRAPER_LABELS) for labels in series]
    columns = {name: fields.own(name, targets) for name, _ in exporter.labels}
    columns["target"] = targets
    columns["identity"] = ["\n".join(row) for row in zip(*columns.values(), strict=True)]
    columns["series"] = [_text(labels) for labels in series]
    return _frame(columns, tuple(columns))


class _Fields:
    """The labels of many series, read by field.

    Of the names that a field may have mostly one occurs, and then there is nothing to choose a
    series; so which names occur is found out once.
    """

    def __init__(self, series: Sequence[Labels], exporter: Exporter) -> None:
        self._series = series
        self._exporter = exporter
        self._present = frozenset().union(*series)

    def read(self, field: str) -> list[str]:
        """Return the first of the field's labels that a series has, for all series."""
        names = [name for name in self._exporter.label_names(field) if name in self._present]
        if not names:
            return [""] * len(self._series)
        if len(names) == 1:
            (name,) = names
            return [labels.get(name, "") for labels in self._series]
        return [
            next((labels[name] for name in names if labels.get(name)), "")
            for labels in self._series
        ]

    def own(self, field: str, targets: Sequence[str]) -> list[str]:
        """Return what the exporter itself says in a field, for all series.

        Where the scraper's label won, the exporter's own is an exported one and an empty one is
        gone. So in a target any of whose series has the exported label, the plain one is the
        scraper's: a pod that waits for a node has none.
        """
        names = self._exporter.label_names(field)
        exported = [name for name in names if name.startswith("exported_")]
        if self._present.isdisjoint(exported):
            return self.read(field)
        shadowed = {
            target
            for target, labels in zip(targets, self._series, strict=True)
            if any(labels.get(name) for name in exported)
        }
        return [
            next((labels[name] for name in choice if labels.get(name)), "")
            for target, labels in zip(targets, self._series, strict=True)
            for choice in (exported if target in shadowed else names,)
        ]

    def holders(self) -> tuple[list[str], list[str]]:
        """Return the namespace and pod that use each device, '' for nobody.

        Where the scraper's labels won, an idle device's series has no exported labels at all and
        its plain ones name the exporter's own pod. That is so for every series of a job in which
        any series has exported labels, and for pods that are an exporter by their name.
        """
        namespaces, pods = self.read("namespace"), self.read("pod")
        own = {pod for pod in set(pods) if any(part in pod for part in self._exporter.own_pods)}
        exported = self._present.intersection(_EXPORTED)
        if not own and not exported:
            return namespaces, pods
        named = [not exported.isdisjoint(labels) for labels in self._series]
        jobs = {
            labels.get("job", "") for labels, has in zip(self._series, named, strict=True) if has
        }
        for index, labels in enumerate(self._series):
            if named[index]:
                pods[index] = labels.get("exported_pod", "")
                namespaces[index] = labels.get("exported_namespace", "") if pods[index] else ""
            elif pods[index] in own or labels.get("job", "") in jobs:
                namespaces[index] = pods[index] = ""
        return namespaces, pods


def _text(labels: Labels) -> str:
    return orjson.dumps(labels, option=orjson.OPT_SORT_KEYS).decode()


def _frame(columns: dict[str, list[str]], order: tuple[str, ...]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(columns[name], dtype="str") for name in order})
