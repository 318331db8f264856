"""What Kubernetes said: nodes, their devices, pods' holds, and the spans somebody watched."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Table,
    Text,
    func,
    literal_column,
)
from sqlalchemy.dialects.postgresql import JSONB, ExcludeConstraint

from app.store.tables.columns import METADATA, code, count, instant, number, text

NODES = Table(
    "nodes",
    METADATA,
    number("cluster_id", key=True),
    number("node_id", key=True),
    text("uid"),
    text("name"),
    text("provider"),
    text("region"),
    text("zone"),
    text("instance_type"),
    text("capacity_type"),
    Column("labels", JSONB, nullable=False),
    instant("created_at"),
    instant("deleted_at", nullable=True),
    instant("seen_at"),
    # What the provider calls the machine: the node's spec.providerID, '' where nothing says it.
    Column("provider_id", Text(collation="C"), nullable=False, server_default=""),
    CheckConstraint("deleted_at >= created_at", name="deleted_after_created"),
)

NODE_COUNTS = Table(
    "node_counts",
    METADATA,
    number("cluster_id", key=True),
    number("node_id", key=True),
    number("gpu_model_id", key=True),
    instant("started_at", key=True),
    instant("until", nullable=True),
    count("devices"),
    number("allocatable_num"),
    number("allocatable_den"),
    number("compute_num"),
    number("compute_den"),
    CheckConstraint("until > started_at", name="not_empty"),
    CheckConstraint("least(devices, allocatable_num, compute_num) >= 0", name="not_negative"),
    CheckConstraint("least(allocatable_den, compute_den) > 0", name="divisor_positive"),
    ExcludeConstraint(
        ("cluster_id", "="),
        ("node_id", "="),
        ("gpu_model_id", "="),
        (func.tstzrange(literal_column("started_at"), literal_column("until")), "&&"),
        name="node_counts_one_at_a_time",
    ),
)

WORKLOADS = Table(
    "workloads",
    METADATA,
    number("cluster_id", key=True),
    number("workload_id", key=True),
    text("namespace"),
    text("kind"),
    text("name"),
    text("uid"),
)

HOLDS = Table(
    "holds",
    METADATA,
    number("cluster_id", key=True),
    number("hold_id", key=True),
    text("pod_uid"),
    text("namespace"),
    text("pod"),
    number("node_id"),
    text("node_uid"),
    text("node_name"),
    number("gpu_model_id"),
    text("resource"),
    count("units"),
    number("share_num"),
    number("share_den"),
    number("compute_num"),
    number("compute_den"),
    code("sharing"),
    # UUIDs of the physical devices, comma separated, as far as they are known.
    text("devices"),
    # The start of a part of a hold whose share changed; 0 for the first part.
    number("part_ms"),
    Column("exclusive", Boolean, nullable=False),
    number("workload_id"),
    Column("labels", JSONB, nullable=False),
    instant("started_at"),
    instant("ended_at", nullable=True),
    number("start_unsure_ms"),
    number("end_unsure_ms"),
    Column("end_lost", Boolean, nullable=False),
    instant("scheduled_at", nullable=True),
    instant("ready_at", nullable=True),
    code("source"),
    # Until when kube-state-metrics was read for it, or when the watch last saw it.
    instant("seen_at", nullable=True),
    CheckConstraint("ended_at >= started_at", name="ended_after_started"),
    CheckConstraint("share_num > 0 AND share_den > 0", name="share_positive"),
    CheckConstraint("compute_num > 0 AND compute_den > 0", name="compute_share_positive"),
    CheckConstraint("start_unsure_ms >= 0 AND end_unsure_ms >= 0", name="unsure_not_negative"),
    Index("holds_by_end", "cluster_id", "ended_at"),
    Index("holds_by_pod", "cluster_id", "pod_uid"),
)

# Spans in which both nodes and pods were followed without a gap.
WATCH_SPANS = Table(
    "watch_spans",
    METADATA,
    number("cluster_id", key=True),
    instant("started_at", key=True),
    instant("until"),
    CheckConstraint("until >= started_at", name="until_after_started"),
)

INVENTORY_NOTES = Table(
    "inventory_notes",
    METADATA,
    number("cluster_id", key=True),
    Column("kind", text("").type, primary_key=True),
    Column("subject", text("").type, primary_key=True),
    Column("detail", text("").type, primary_key=True),
    number("quantity"),
    instant("first_seen_at"),
    instant("last_seen_at"),
)
