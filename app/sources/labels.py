"""From an exporter's labels to the label columns of the usage stage."""

from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation

import orjson
import pandas as pd

from app.sources.catalogue import Alias, Exporter, Layer
from app.sources.matrices import Labels, Matrix
from app.usage.products import canonical_model
from app.usage.samples import COUNTER_LABELS, DEVICE_LABELS

# Between the identity of a histogram and the bound of one of its buckets.
BOUND_MARK = "\n"
SCRAPER_LABELS = ("job", "instance", "prometheus", "prometheus_replica", "replica", "receive")
# Numbers of parts may be zeros, longer ones are no identity.
_MOST_ZEROS = 8
# With these equal, series come from one exposition, read by one scraper.
_TARGET_LABELS = (*SCRAPER_LABELS, "endpoint", "service", "container", "node", "cluster")
_TOLD = ("namespace", "pod", "target", "model", "outcome", "le", "role")
_ROLES = frozenset({"prefill", "decode"})
_EXPORTED = ("exported_pod", "exported_namespace", "exported_container")


def device_labels(series: Sequence[Labels], exporter: Exporter) -> pd.DataFrame:
    """Return `DEVICE_LABELS`, one row a series; the holder is '' where the device has none.

    A device whose exporter gives no identity of its own is called by host and number, '' if it has
    none either.
    """
    fields = _Fields(series, exporter)
    instance = [_known(text) for text in fields.read("instance")]
    hostname, node = fields.read("hostname"), fields.read("node")
    device = [
        _known(text) or (f"{host or name}/{index}" if (host or name) and index else "")
        for text, host, name, index in zip(
            fields.read("device"), hostname, node, fields.read("index"), strict=True
        )
    ]
    namespace, pod = fields.holders()
    models = fields.read("gpu_model")
    canonical = {model: canonical_model(model) for model in set(models)}
    columns = {
        "device": device,
        "instance": instance,
        "profile": fields.read("profile"),
        "hostname": hostname,
        "node": node,
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
    series: Sequence[Labels],
    engine: Exporter,
    alias: Alias,
    quantity: str,
    *,
    part: str = "",
    own_labels: tuple[str, ...] = (),
) -> pd.DataFrame:
    """Return `COUNTER_LABELS`, one row a series.

    The identity is the replica and what the exporter itself says of the series. Any other label is
    the scraper's: a second Prometheus, a second job, pod labels that one of them copies. Where a
    pod is named, its address is the scraper's too. It begins with the alias' name instead of the
    metric's, so that a ``_created`` series has the identity of its counter, after the ``part`` of a
    quantity that it is; a bucket's ends with its bound, after `BOUND_MARK`. ``own_labels`` are
    further labels of the exporter's (`told_apart_by`).
    """
    fields = _Fields(series, engine)
    told = {name: fields.read(name) for name, _ in engine.labels}
    nothing = [""] * len(series)
    columns = {name: told.get(name, nothing) for name in _TOLD}
    bounds = columns["le"] = _bounds(columns["le"], alias.scale)
    address = ["" if pod else at for pod, at in zip(columns["pod"], columns["target"], strict=True)]
    own = zip(
        *({**told, "target": address, "le": nothing}).values(),
        *([labels.get(name, "") for labels in series] for name in own_labels),
        strict=True,
    )
    return _frame(
        {
            **columns,
            "outcome": _outcomes(columns["outcome"], engine, alias),
            "role": _each(columns["role"], lambda role: role if role in _ROLES else ""),
            "quantity": [quantity] * len(series),
            "engine": [engine.name] * len(series),
            "layer": _layers(series, columns["model"], engine),
            "identity": [
                f"{part}{alias.name}{orjson.dumps(parts).decode()}"
                f"{BOUND_MARK + bound if bound else ''}"
                for parts, bound in zip(own, bounds, strict=True)
            ],
            "series": [_text(labels, engine.copy_labels) for labels in series],
        },
        COUNTER_LABELS,
    )


def told_apart_by(matrix: Matrix, identity: pd.Series, engine: Exporter) -> tuple[str, ...]:
    """Return the labels in which series of one identity differ that are no copies of each other.

    One exposition has no series twice. So where series of one target have samples of one instant,
    the labels in which they differ are the engine's own, though no file names them: customers,
    priorities. Labels in which a file says that copies differ are none of them.
    """
    texts = identity.tolist()
    if len(set(texts)) == len(texts):
        return ()
    targets: dict[tuple[str, ...], list[int]] = {}
    for row, (text, labels) in enumerate(zip(texts, matrix.labels, strict=True)):
        target = [labels.get(name, "") for name in _TARGET_LABELS]
        targets.setdefault((text, *target), []).append(row)
    found: set[str] = set()
    for rows in targets.values():
        if len(rows) > 1:
            found |= _differing(matrix, rows)
    return tuple(sorted(found - set(engine.copy_labels)))


def _differing(matrix: Matrix, rows: Sequence[int]) -> set[str]:
    """Return the labels in which series with samples of one instant differ."""
    found: set[str] = set()
    first_at: dict[int, int] = {}
    for row in rows:
        instants = matrix.at_ms[matrix.first[row] : matrix.first[row + 1]].tolist()
        others = {first_at.setdefault(at_ms, row) for at_ms in instants}
        for other in others - {row}:
            differs = matrix.labels[row].items() ^ matrix.labels[other].items()
            found |= {name for name, _ in differs}
    return found


def object_labels(series: Sequence[Labels], exporter: Exporter) -> pd.DataFrame:
    """Return one column a field of the exporter, ``target``, ``identity`` and ``series``.

    ``target`` is equal for series of one scrape target as seen by one Prometheus.
    """
    fields = _Fields(series, exporter)
    targets = ["\n".join(labels.get(name, "") for name in SCRAPER_LABELS) for labels in series]
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


def _known(identity: str) -> str:
    """Return an identity, '' for what exporters write where they know none: NA, a UUID of zeros."""
    unknown = identity.upper() in {"NA", "N/A", "NONE"} or (
        len(identity) > _MOST_ZEROS and not identity.strip("0-")
    )
    return "" if unknown else identity


def _layers(series: Sequence[Labels], models: Sequence[str], engine: Exporter) -> list[str]:
    """Return the layer of each series: a router names the servers behind it, and no model."""
    layer = (engine.layer or Layer.ENGINE).value
    names = engine.router_labels
    if not names or not any(name in labels for labels in series for name in names):
        return [layer] * len(series)
    return [
        Layer.ROUTER.value if not model and any(labels.get(name) for name in names) else layer
        for labels, model in zip(series, models, strict=True)
    ]


def _outcomes(published: Sequence[str], engine: Exporter, alias: Alias) -> list[str]:
    """Return how requests ended in our words, the engine's own where we have none for it."""
    known = {"": alias.outcome, **dict(engine.outcomes)}
    return _each(published, lambda text: known.get(text, text))


def _bounds(texts: Sequence[str], scale: float) -> list[str]:
    """Return the bounds of buckets in the meaning's unit, exactly."""

    def scaled(text: str) -> str:
        try:
            bound = Decimal(text) * Decimal(str(scale))
        except InvalidOperation:
            return text
        return f"{bound.normalize():f}" if bound.is_finite() else text

    return list(texts) if scale == 1.0 else _each(texts, scaled)


def _each(texts: Sequence[str], change: Callable[[str], str]) -> list[str]:
    """Return every text changed: of many series few texts differ, so each is changed once."""
    changed = {text: change(text) for text in set(texts)}
    if all(text == after for text, after in changed.items()):
        return list(texts)
    return [changed[text] for text in texts]


def _text(labels: Labels, without: Sequence[str] = ()) -> str:
    if without:
        labels = {name: value for name, value in labels.items() if name not in without}
    return orjson.dumps(labels, option=orjson.OPT_SORT_KEYS).decode()


def _frame(columns: dict[str, list[str]], order: tuple[str, ...]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(columns[name], dtype="str") for name in order})
