"""Writes docs/metrics-read.md from the catalogue and the query templates: `make docs`."""

from collections.abc import Iterable, Iterator
from dataclasses import fields

from app.sources import promql
from app.sources.catalogue import (
    Alias,
    Catalogue,
    Exporter,
    Gateway,
    Layer,
    Meaning,
    MetricType,
    load_catalogue,
)
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
    exporters = [
        exporter
        for field in fields(catalogue)
        for value in (getattr(catalogue, field.name),)
        for exporter in (value if isinstance(value, tuple) else (value,))
    ]
    sections = "".join(
        _section(exporter) for exporter in exporters if isinstance(exporter, Exporter)
    )
    sections += "".join(_gateway_section(gateway) for gateway in catalogue.gateways)
    templates = "".join(
        f"| {template.name} | {f'`{template.function}`' if template.function else 'none'}"
        f"{', above 0 only' if template.only_above_zero else ''}"
        f" | {template.unit} | {template.reason} |\n"
        for template in query_templates()
    )
    return f"{HEAD}{sections}{QUERIES}{templates}"


def _gateway_section(gateway: Gateway) -> str:
    """Return what a gateway counts, and which labels say who sent the tokens and where to."""
    rows = "".join(
        f"| {field} | {', '.join(f'`{name}`' for name in names)} |\n"
        for field, names in gateway.fields
    )
    labels = f"\n| Tells | Labels |\n| --- | --- |\n{rows}"
    return f"{_section(gateway.exporter)}{labels}"


def query_templates() -> Iterator[promql.Template]:
    """Yield the templates in the order in which they are written."""
    return (value for value in vars(promql).values() if isinstance(value, promql.Template))


def _section(exporter: Exporter) -> str:
    rows = "".join(_row(meaning) for meaning in exporter.meanings)
    labels = "".join(
        f"| {name} | {', '.join(f'`{label}`' for label in exporter.label_names(name))} |\n"
        for name, _ in exporter.labels
    )
    if exporter.publishes_nothing:
        return f"\n## {exporter.name}\n\n{exporter.publishes_nothing}\n"
    asked = f"\n| Label for | Read from, first filled wins |\n| --- | --- |\n{labels}"
    return (
        f"\n## {exporter.name}\n\n{_remarks(exporter)}"
        "| Meaning | Unit | Names | Why |\n| --- | --- | --- | --- |\n"
        f"{rows}{asked if labels else ''}"
    )


def _remarks(exporter: Exporter) -> str:
    """Return what is true of all series of an engine, as a paragraph."""
    first, *others = exporter.prefixes or ("",)
    remarks = [
        f"Names that begin with `{first}` may begin with {_listed(others)}." if others else "",
        "Its figures are a frontend's: engines behind it count the same."
        if exporter.layer is Layer.FRONTEND
        else "",
        f"Read of targets only that publish {_listed(exporter.recognized_by)}."
        if exporter.recognized_by
        else "",
        f"Series without {_listed(exporter.requires_labels)} are another's."
        if exporter.requires_labels
        else "",
        f"Series with {_listed(exporter.router_labels)} and no model are a router's."
        if exporter.router_labels
        else "",
        f"Series that differ in {_listed(exporter.copy_labels)} alone repeat one figure; the "
        "highest counts."
        if exporter.copy_labels
        else "",
        f"What {_listed(exporter.wraps)} publishes of a pod as well is counted there."
        if exporter.wraps
        else "",
        f"Counters have {exporter.digits} significant digits." if exporter.digits else "",
    ]
    said = " ".join(remark for remark in remarks if remark)
    return f"{said}\n\n" if said else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _row(meaning: Meaning) -> str:
    names = "<br>".join(_named(meaning, alias) for alias in meaning.aliases if not alias.respelled)
    part = f" (part of {meaning.part_of})" if meaning.part_of else ""
    return f"| {meaning.name}{part} | {meaning.unit} | {names} | {meaning.reason} |\n"


def _named(meaning: Meaning, alias: Alias) -> str:
    remarks = [
        f"since {alias.since}" if alias.since else "",
        f"until {alias.until}" if alias.until else "",
        f"× {alias.scale:g}" if alias.scale != 1.0 else "",
        *(f"where `{label}` is {_listed(values)}" for label, values in alias.where),
        f"counts as {alias.outcome}" if alias.outcome else "",
        "histogram" if meaning.type is MetricType.HISTOGRAM else "",
    ]
    said = ", ".join(remark for remark in remarks if remark)
    return f"`{alias.name}`{f' ({said})' if said else ''}"


if __name__ == "__main__":
    PAGE.write_text(metrics_page(load_catalogue()), encoding="utf-8")
