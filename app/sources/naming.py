"""Conditions that narrow a question to a few replicas, in the words of their own labels."""

from collections.abc import Mapping

import orjson
import pandas as pd

from app.sources.catalogue import Exporter
from app.sources.promql import Matcher, any_of

# Names in one condition: longer ones take the server longer than the samples they spare.
_MOST_IN_ONE = 100
# Characters of the names in one condition.
_LONGEST_LIST = 8_000
# More replicas than this are not named one by one: everything is asked for.
_MOST_NAMED = 300

_EVERYTHING: list[tuple[Matcher, ...]] = [()]


def narrowed_to(exporter: Exporter, labels: pd.DataFrame) -> list[tuple[Matcher, ...]]:
    """Return conditions that together choose at least the series of the rows' replicas.

    Replicas are named by pod, else by target. Nothing is returned for no rows; where names differ
    from row to row or are too many, one condition that chooses everything is.
    """
    if not len(labels):
        return []
    field = "pod" if (labels["pod"] != "").all() else "target"
    values = sorted(set(labels[field]))
    if "" in values or len(values) > _MOST_NAMED:
        return _EVERYTHING
    label = label_named(exporter, field, labels)
    if label is None:
        return _EVERYTHING
    # By the longest name: VictoriaMetrics takes no query of more than 16 KiB.
    count = max(1, min(_MOST_IN_ONE, _LONGEST_LIST // max(map(len, values))))
    return [
        (any_of(label, tuple(values[start : start + count])),)
        for start in range(0, len(values), count)
    ]


def label_named(exporter: Exporter, field: str, labels: pd.DataFrame) -> str | None:
    """Return the name of the label from which ``field`` was taken, if it is one for all rows."""
    names = set()
    for text in labels["series"]:
        series: Mapping[str, str] = orjson.loads(text)
        names.add(next((name for name in exporter.label_names(field) if series.get(name)), None))
    return names.pop() if len(names) == 1 else None
