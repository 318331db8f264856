"""Expositions written by hand, as the history of a real server: from nothing to what they show."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from app.units.window import Window

FOLDER = Path(__file__).with_name("expositions") / "gateways"
_SERIES = re.compile(r"([^\s{]+)(?:\{(.*)\})?\s+(\S+)$")


def openmetrics(
    window: Window, files: Iterable[tuple[str, Mapping[str, str]]], *, scrape_ms: int = 30_000
) -> str:
    """Return the history of the files' series: 0 before the window, then in even steps to theirs.

    Each file comes with the labels that a scraper adds. Values end a minute before the window does,
    and are whole numbers on the way.
    """
    families: dict[str, list[tuple[str, float]]] = {}
    for name, added in files:
        for metric, labels, value in _series((FOLDER / name).read_text(encoding="utf-8")):
            text = ",".join(
                part
                for part in (labels, *(f'{key}="{word}"' for key, word in added.items()))
                if part
            )
            families.setdefault(metric, []).append((f"{metric}{{{text}}}", value))
    lines = []
    instants = range(window.start_ms - 2 * scrape_ms + 7_000, window.end_ms, scrape_ms)
    last_ms = window.end_ms - 60_000
    for _, series in sorted(families.items()):
        for shown, value in series:
            for at_ms in instants:
                part = (at_ms - window.start_ms) / (last_ms - window.start_ms)
                now = float(int(value * min(max(part, 0.0), 1.0)))
                lines.append(f"{shown} {now} {at_ms / 1000:.3f}")
    return "\n".join([*lines, "# EOF", ""])


def _series(text: str) -> Iterator[tuple[str, str, float]]:
    for line in text.splitlines():
        if line and not line.startswith("#"):
            found = _SERIES.match(line)
            assert found, line
            yield found[1], found[2] or "", float(found[3])
