"""Runs of reports: which file was written where, from which definition, with which bytes."""

from sqlalchemy import CheckConstraint, Column, Index, Table, Uuid

from app.store.tables.columns import METADATA, instant, number, text

REPORT_RUNS = Table(
    "report_runs",
    METADATA,
    Column("run_id", Uuid, primary_key=True),
    text("name"),
    text("period"),
    number("number"),
    text("form"),
    text("definition_sha256"),
    text("address"),
    text("sha256"),
    number("size_bytes"),
    instant("written_at"),
    CheckConstraint("number > 0 AND size_bytes >= 0", name="counted"),
    Index("report_runs_by_time", "written_at", "run_id"),
)
