"""Writes docs/metrics-read.md from the catalogue and the query templates: `make docs`."""

from collections.abc import Iterator
from dataclasses import fields

from app.sources import promql
from app.sources.catalogue import Alias, Catalogue, Exporter, Meaning, MetricType, load_catalogue
from tests.house import ROOT

PAGE = ROOT / "docs" / "metrics-read.md"

HEAD = """\
# Metrics that gpuledger reads

Written by `make docs` from `app/sources/catalogue/` and `app/sources/promql.py`; a test compares.

Each meaning has a list of names, the preferred one first. They are resolved at every run against
the names that the server has in the window, and which one matched is recorded with the window. A
name that was there and comes back empty is an error of the collection, not a zero.
"""

QUERIES = """
## How they are asked for

| Template | Function | Unit | Why |
| --- | --- | --- | --- |
"""


def metrics_page(catalogue: Catalogue) -> str:
    """Return the whole page."""
    exporters = [getattr(catalogue, field.name) for field in fields(catalogue)]
    sections = "".join(_section(exporter) for exporter in exporters)
    templates = "".join(
        f"| {template.name} | {f'`{template.function}`' if template.function else 'none'}"
        f"{', above 0 only' if template.only_above_zero else ''}"
        f" | {template.unit} | {template.reason} |\n"
        for template in query_templates()
    )
    return f"{HEAD}{sections}{QUERIES}{templates}"


def query_templates() -> Iterator[promql.Template]:
    """Yield the templates in the order in which they are written."""
    return (value for value in vars(promql).values() if isinstance(value, promql.Template))


def _section(exporter: Exporter) -> str:
    rows = "".join(_row(meaning) for meaning in exporter.meanings)
    labels = "".join(
        f"| {name} | {', '.join(f'`{label}`' for label in exporter.label_names(name))} |\n"
        for name, _ in exporter.labels
    )
    asked = f"\n| Label for | Read from, first filled wins |\n| --- | --- |\n{labels}"
    return (
        f"\n## {exporter.name}\n\n| Meaning | Unit | Names | Why |\n| --- | --- | --- | --- |\n"
        f"{rows}{asked if labels else ''}"
    )


def _row(meaning: Meaning) -> str:
    names = "<br>".join(_named(meaning, alias) for alias in meaning.aliases)
    return f"| {meaning.name} | {meaning.unit} | {names} | {meaning.reason} |\n"


def _named(meaning: Meaning, alias: Alias) -> str:
    remarks = [
        f"since {alias.since}" if alias.since else "",
        f"until {alias.until}" if alias.until else "",
        f"× {alias.scale:g}" if alias.scale != 1.0 else "",
        "histogram" if meaning.type is MetricType.HISTOGRAM else "",
    ]
    said = ", ".join(remark for remark in remarks if remark)
    return f"`{alias.name}`{f' ({said})' if said else ''}"


if __name__ == "__main__":
    PAGE.write_text(metrics_page(load_catalogue()), encoding="utf-8")
