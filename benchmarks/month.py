"""A month of facts: the collected hour again and again, with other pods doing other things."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo
from itertools import islice

import numpy as np
import numpy.typing as npt
import pandas as pd
from sqlalchemy import Engine
from sqlalchemy.engine import URL

from app.store.engine import engine_of
from app.store.holds import HoldStore
from app.store.usage import UsageStore
from app.units.window import HOUR_MS, Window
from app.usage import frames
from app.usage.facts import UsageFacts
from app.usage.identity import hold_id
from app.usage.inventory import PodHold
from app.usage.states import hold_segments
from app.workflows.imports import apply_contract, import_prices
from benchmarks.measuring import Stopwatch
from benchmarks.scale import CLUSTER

Int64s = npt.NDArray[np.int64]

ZONE: tzinfo = UTC
# A pod is followed by another after so many hours: services live for weeks, jobs for less.
_LIFETIMES_HOURS = (10_000, 240, 72, 24, 8)
# Of so many rows one lacks half of its samples.
_SILENT_ONE_IN = 20
_PURPOSES = ("serving", "training")
_BATCH = 20_000
_BANDS = (
    "band_0_ms",
    "band_0_5_ms",
    "band_5_20_ms",
    "band_20_50_ms",
    "band_50_80_ms",
    "band_80_100_ms",
)
_PRICES = """\
cluster,provider,region,instance_type,gpu_model,capacity_type,node,unit,price,currency,valid_from,valid_to,source
,,,,H100,,,gpu_hour,3.10,USD,2025-01-01,2025-10-15T10:37:00Z,made up
,,,,H100,,,gpu_hour,2.95,USD,2025-10-15T10:37:00Z,,made up
,,,,H100,spot,,gpu_hour,1.40,USD,2025-01-01,,made up
,,,,A100,,,gpu_hour,1.80,USD,2025-01-01,,made up
,,,,A100,spot,,gpu_hour,0.90,USD,2025-01-01,,made up
,,,,L40S,,,gpu_hour,1.10,USD,2025-01-01,,made up
,,,,T4,,,gpu_hour,0.35,USD,2025-01-01,,made up
,,,,,,,gpu_hour,0.95,USD,2025-01-01,,made up
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """How much there is to rate."""

    hours: int
    pool_rows: int
    hold_rows: int
    holds: int


def make_month(stopwatch: Stopwatch, url: URL, hour: Window, month: Window, teams: int) -> Month:
    """Store the month hour by hour as a collection would; return how much it is."""
    engine = engine_of(url)
    _import_terms(engine, teams)
    with engine.connect() as connection:
        usage = UsageStore(connection, CLUSTER)
        pools, used = usage.pool_usage(hour), usage.hold_usage(hour)
        held = HoldStore(connection, CLUSTER).within(hour)
    hours = month.length_ms // HOUR_MS
    with stopwatch:
        who = np.zeros((hours, len(used)), dtype=np.int64)
        holds = 0
        pods = _pods(held, used, who, hour, month, teams)
        while batch := list(islice(pods, _BATCH)):
            with engine.begin() as connection:
                HoldStore(connection, CLUSTER).put(batch)
            holds += len(batch)
        dice = np.random.default_rng(7)
        for number, each in enumerate(month.hours()):
            by_ms = each.start_ms - hour.start_ms
            there = _moved(pools, by_ms)
            rows = _other_use(_held(there, _moved(used, by_ms).assign(hold_id=who[number])), dice)
            with engine.begin() as connection:
                UsageStore(connection, CLUSTER).replace(each, _facts(there, rows))
    return Month(
        hours=hours, pool_rows=hours * len(pools), hold_rows=hours * len(used), holds=holds
    )


def _import_terms(engine: Engine, teams: int) -> None:
    blocks = [
        f"  - {{ name: {_team(number)}, cost_center: CC-{number:04d},"
        f' namespaces: ["{_team(number)}-*"] }}'
        for number in range(teams)
    ]
    contract = "\n".join(["teams:", *blocks, "platform: { team: platform, namespaces: [] }", ""])
    import_prices(
        _PRICES,
        file_name="prices.csv",
        currency="USD",
        engine=engine,
        billing_zone=ZONE,
        at_ms=0,
        dry_run=False,
    )
    apply_contract(
        contract,
        file_name="teams.yaml",
        engine=engine,
        billing_zone=ZONE,
        at_ms=0,
        dry_run=False,
    )


def _team(number: int) -> str:
    return f"team-{number:03d}"


def _pods(
    held: Sequence[PodHold],
    used: pd.DataFrame,
    who: Int64s,
    hour: Window,
    month: Window,
    teams: int,
) -> Iterator[PodHold]:
    """Yield the month's pods, and write into ``who`` by hour and row of ``used`` who is there."""
    by_id = {hold_id(CLUSTER, one.pod_uid, one.resource, one.part_ms): one for one in held}
    columns = (used[name].tolist() for name in ("hold_id", "start_ms", "end_ms"))
    hours, shift_ms = len(who), month.start_ms - hour.start_ms
    number = 0
    for row, (identity, start_ms, end_ms) in enumerate(zip(*columns, strict=True)):
        whole = end_ms - start_ms == HOUR_MS
        lifetime = _LIFETIMES_HOURS[row % len(_LIFETIMES_HOURS)] if whole else 1
        for begins in range(-(row % lifetime), hours, lifetime):
            first, last = max(begins, 0), min(begins + lifetime, hours)
            pod = replace(
                by_id[identity],
                pod_uid=f"{by_id[identity].pod_uid}-{row}-{first}",
                part_ms=0,
                pod=f"pod-{number}",
                namespace=f"{_team(number % teams)}-{_PURPOSES[number // teams % 2]}",
                start_ms=start_ms + shift_ms + first * HOUR_MS,
                end_ms=end_ms + shift_ms + (last - 1) * HOUR_MS,
                scheduled_ms=None,
                ready_ms=None,
            )
            who[first:last, row] = hold_id(CLUSTER, pod.pod_uid, pod.resource)
            number += 1
            yield pod


def _moved(rows: pd.DataFrame, by_ms: int) -> pd.DataFrame:
    instants = ("window_start_ms", "start_ms", "end_ms")
    return rows.assign(**{name: rows[name] + by_ms for name in instants})


def _held(pools: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with what each holds: milliseconds left over go by identities in order."""
    key = ["node_id", "gpu_model_id", "hold_id"]
    parts = hold_segments(pools, rows).groupby(key)["held_ms"].sum()
    held = parts.reindex(pd.MultiIndex.from_frame(rows[key]), fill_value=0)
    return rows.assign(held_ms=held.to_numpy())


def _other_use(rows: pd.DataFrame, dice: np.random.Generator) -> pd.DataFrame:
    """Return the rows with other activity; what was held stays."""
    held = rows["held_ms"].to_numpy()
    silent = dice.integers(_SILENT_ONE_IN, size=len(rows)) == 0
    measured = np.where(silent, held // 2, held)
    active = measured * dice.integers(1_001, size=len(rows)) // 1_000
    bands = dict.fromkeys(_BANDS, np.zeros(len(rows), dtype=np.int64))
    return rows.assign(
        active_ms=active,
        idle_ms=measured - active,
        unmeasured_ms=held - measured,
        **{**bands, "band_20_50_ms": measured},
    )


def _facts(pools: pd.DataFrame, holds: pd.DataFrame) -> UsageFacts:
    return UsageFacts(
        pool_usage=pools,
        hold_usage=holds,
        token_usage=frames.empty(frames.TOKEN_USAGE),
        latency_usage=frames.empty(frames.LATENCY_USAGE),
        service_minutes=frames.empty(frames.SERVICE_MINUTES),
        cold_starts=frames.empty(frames.COLD_STARTS),
        evidence=frames.empty(frames.EVIDENCE),
        notes=frames.empty(frames.NOTES),
        partial=False,
    )
