"""Expositions of our own in the shapes of engines, as a Prometheus would have scraped them."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.units.window import HOUR_MS, Window, to_ms

EXPOSITIONS = Path(__file__).parent / "expositions" / "engines"
ODD = Path(__file__).parent / "expositions" / "odd"
START = datetime(2026, 11, 2, 10, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(hours=1))
SCRAPE_MS = 30_000
_SCRAPE = re.compile(r"^# scrape \d+$", re.MULTILINE)
_SERIES = re.compile(r"(?P<name>[^\s{]+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)\Z")


@dataclass(frozen=True, slots=True)
class Target:
    """One file under the labels that a scraper adds: the first scrape's values for half the hour.

    Samples begin three scrapes before the hour, so that what a counter had before it is known; of
    a target that is ``late`` there are those of the second half alone.
    """

    file: str
    pod: str = ""
    namespace: str = "serving"
    port: int = 8000
    folder: Path = EXPOSITIONS
    late: bool = False
    further: dict[str, str] = field(default_factory=dict)

    def samples(self) -> Iterator[tuple[str, str]]:
        """Yield the metric's name and the line of each sample."""
        text = (self.folder / self.file).read_text(encoding="utf-8")
        scrapes = [part.splitlines() for part in _SCRAPE.split(text)[1:]]
        start_ms = to_ms(START)
        half_ms = start_ms + HOUR_MS // 2
        first = range(half_ms if self.late else start_ms - 3 * SCRAPE_MS, half_ms, SCRAPE_MS)
        second = range(half_ms, start_ms + HOUR_MS, SCRAPE_MS)
        for lines, instants in zip(scrapes, (first, second), strict=True):
            for line in lines:
                if line and not line.startswith("#"):
                    yield from self._series(line, instants)

    def _series(self, line: str, instants: Iterable[int]) -> Iterator[tuple[str, str]]:
        found = _SERIES.match(line)
        assert found is not None, line
        pod = self.pod or self.file.removesuffix(".prom")
        scraper = {
            "job": "serving",
            "namespace": self.namespace,
            "pod": pod,
            "instance": f"{pod}:{self.port}",
            **self.further,
        }
        labels = ",".join(
            [
                *([found["labels"]] if found["labels"] else []),
                *(f'{name}="{value}"' for name, value in scraper.items() if value),
            ]
        )
        for at_ms in instants:
            yield found["name"], f"{found['name']}{{{labels}}} {found['value']} {at_ms / 1000:.3f}"


def write_history(targets: Iterable[Target], path: Path, *, kind: str = "unknown") -> Path:
    """Write the targets' samples as OpenMetrics text, metric by metric and series by series.

    ``kind`` is the type that all of them are said to have.
    """
    by_name: dict[str, dict[str, list[str]]] = {}
    for target in targets:
        for name, line in target.samples():
            by_name.setdefault(name, {}).setdefault(line[: line.rindex("}")], []).append(line)
    lines = [
        line
        for name, series in sorted(by_name.items())
        for line in (
            f"# TYPE {name} {kind}",
            *(sample for one in series.values() for sample in one),
        )
    ]
    path.write_text("\n".join([*lines, "# EOF", ""]), encoding="utf-8")
    return path
