"""Identities and the names they stand for."""

from sqlalchemy import CheckConstraint, Table, UniqueConstraint

from app.store.tables.columns import METADATA, number, text


def _names(table: str, key: str) -> Table:
    return Table(
        table,
        METADATA,
        number(key, key=True),
        text("name"),
        UniqueConstraint("name", name=f"{table}_unique_name"),
        CheckConstraint("name <> ''", name="name_given"),
    )


CLUSTERS = _names("clusters", "cluster_id")
GPU_MODELS = _names("gpu_models", "gpu_model_id")
NAMESPACES = _names("namespaces", "namespace_id")
MODELS = _names("models", "model_id")

TEAMS = Table(
    "teams",
    METADATA,
    number("team_id", key=True),
    text("name"),
    text("cost_center"),
    UniqueConstraint("name", name="teams_unique_name"),
    CheckConstraint("name <> ''", name="name_given"),
)
