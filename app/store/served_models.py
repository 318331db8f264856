"""What pods and engines said, while a window lasted, of the names of the models they serve."""

from sqlalchemy import Connection, or_, select

from app.store.tables.facts import WINDOW_NOTES
from app.store.tables.inventory import HOLDS
from app.units.window import Window
from app.usage.models import ModelEntry
from app.usage.published_models import ADAPTER_NOTE, adapter_entry
from app.usage.serving_pods import NAMING_LABELS, entry_of


def served_models(connection: Connection, window: Window) -> tuple[ModelEntry, ...]:
    """Return what a `ModelTable` is told beside the configuration: of all clusters, in order.

    Names come from the pods that held anything in the window, LoRA adapters also from engines.
    """
    table = HOLDS
    columns = [table.c.labels[name].astext for name in NAMING_LABELS]
    held = connection.execute(
        select(*columns)
        .distinct()
        .where(
            table.c.started_at < window.end_ms,
            or_(table.c.ended_at.is_(None), table.c.ended_at >= window.start_ms),
            or_(*(column.is_not(None) for column in columns)),
        )
    )
    entries = {
        entry_of({name: text for name, text in zip(NAMING_LABELS, row, strict=True) if text})
        for row in held
    }
    noted = connection.execute(
        select(WINDOW_NOTES.c.subject, WINDOW_NOTES.c.detail)
        .distinct()
        .where(
            WINDOW_NOTES.c.kind == ADAPTER_NOTE,
            WINDOW_NOTES.c.window_start >= window.start_ms,
            WINDOW_NOTES.c.window_start < window.end_ms,
        )
    )
    entries |= {adapter_entry(row.subject, row.detail) for row in noted}
    found = [entry for entry in entries if entry is not None]
    return tuple(sorted(found, key=lambda one: (one.name, one.aliases, one.adapters)))
