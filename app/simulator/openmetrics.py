"""Writing a fleet's samples as OpenMetrics text, for ``promtool tsdb create-blocks-from``."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from app.simulator.exposition import Exposition, families_of
from app.simulator.fleet import Fleet
from app.simulator.series import Series

_HISTOGRAM_PARTS = ("_bucket", "_count", "_sum")


def write_openmetrics(
    fleet: Fleet,
    path: Path,
    families: Iterable[str] | None = None,
    *,
    exposition: Exposition | None = None,
    start_ms: int | None = None,
    end_ms: int | None = None,
) -> int:
    """Write the samples of ``[start_ms, end_ms)`` (default: all) and return how many there are.

    A family's lines stand together, a series' samples ascend, the file ends in ``# EOF``.
    """
    exposed = exposition or Exposition(fleet)
    low = fleet.spec.opens_ms if start_ms is None else start_ms
    high = fleet.spec.closes_ms if end_ms is None else end_ms
    count = 0
    typed: set[str] = set()
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for name in families_of(fleet) if families is None else families:
            exposed_name = exposed.renamed.get(name, name)
            base, kind = _type_of(exposed_name)
            if base not in typed:
                typed.add(base)
                file.write(f"# TYPE {base} {kind}\n")
            for series in exposed.family(exposed_name):
                lines = _lines(exposed_name, series, low, high)
                count += len(lines)
                file.writelines(lines)
        file.write("# EOF\n")
    return count


def _type_of(name: str) -> tuple[str, str]:
    """Return a family's name without its suffixes, and its type.

    ``_created`` gauges, as an engine exposes them in the plain text format, would be members of
    their counter here; left without a type they stay series of their own for every reader.
    """
    if name.endswith("_total"):
        return name.removesuffix("_total"), "counter"
    for part in _HISTOGRAM_PARTS:
        if name.endswith(part):
            return name.removesuffix(part), "histogram"
    return name, "gauge"


def _lines(name: str, series: Series, low_ms: int, high_ms: int) -> list[str]:
    low, high = np.searchsorted(series.at_ms, [low_ms, high_ms], side="left")
    labels = ",".join(f'{label}="{_escaped(text)}"' for label, text in series.labels)
    head = f"{name}{{{labels}}} "
    times = series.at_ms[low:high].tolist()
    values = series.value[low:high].tolist()
    return [
        f"{head}{value!r} {at_ms // 1000}.{at_ms % 1000:03d}\n"
        for at_ms, value in zip(times, values, strict=True)
    ]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
