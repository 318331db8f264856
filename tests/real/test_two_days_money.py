"""Two days from a real Prometheus: every line of the ledger, and the promises I1 to I7."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from sqlalchemy import text

from app.attribution.charges import ChargeKind
from app.simulator.pods import GPU_RESOURCE
from app.store.charges import ChargeStore
from app.store.engine import engine_of
from app.store.locking import ClosedPeriodError
from app.store.windows import WindowStore
from app.units.money import from_nanos
from app.units.window import HOUR_MS, Window, from_ms
from app.usage.identity import hold_id, node_id, team_id
from app.workflows.reading import cost_sums, explanation
from tests.oracle.ledger_oracle import HELD, STRANDED, UNALLOCATED, UNOWNED, Span
from tests.real.two_days import (
    SCRAPE_MS,
    START_MS,
    TERMS,
    UNWATCHED,
    WATCHED,
    WINDOW,
    ZONE,
    TwoDays,
    scrapes_of_kube_state,
    uid_of,
)
from tests.workflows.ledger_lines import (
    NANOS,
    charged_lines,
    disagreements,
    segments_by_node,
)
from tests.workflows.rows_kept import fingerprint
from tests.workflows.walking import walked

pytestmark = pytest.mark.xdist_group("two days")

CLUSTERS = [WATCHED, UNWATCHED]
# Days of the billing zone begin an hour before UTC's in November.
BORDERS = (*TERMS.borders(), START_MS + 23 * HOUR_MS, START_MS + 47 * HOUR_MS)


def test_every_line_is_that_of_the_walk_with_the_watch(two: TwoDays) -> None:
    """All edges are whole seconds, so the walk takes seconds for steps."""
    charges = two.charges(WATCHED)
    pools, _ = two.usage(WATCHED)
    states: Counter[str] = Counter()
    for hour in WINDOW.hours():
        span = Span(start_ms=hour.start_ms, end_ms=hour.end_ms)
        expected = walked(two.fleet.truth, TERMS, span, [span], step_ms=1_000)
        rows = charges[charges["window_start_ms"] == hour.start_ms]
        spans = pools[pools["window_start_ms"] == hour.start_ms]
        lines = charged_lines(rows, WATCHED, two.fleet, TERMS.teams())
        segments = segments_by_node(spans, BORDERS, WATCHED, two.fleet)
        assert disagreements(lines, expected, segments) == []
        states.update(key.state for key in expected)

    assert set(states) == {HELD, UNALLOCATED, STRANDED}
    assert team_id(UNOWNED) in set(charges["team_id"])


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_the_cost_is_exactly_the_price_of_the_capacity(two: TwoDays, cluster: str) -> None:
    """Half a nano a segment is what rounding each segment once may take or give."""
    pools, _ = two.usage(cluster)
    charges = two.charges(cluster)
    nodes = {node_id(cluster, uid_of(cluster, node)): node for node in two.fleet.nodes}
    prices = TERMS.oracle_prices(two.fleet.nodes)
    compared = 0
    for (identity, hour_ms), rows in pools.groupby(["node_id", "window_start_ms"]):
        node = nodes[identity]
        exact, priced_ms, segments = Fraction(0), 0, 0
        for row in rows.itertuples():
            segments += 1 + sum(row.start_ms < at < row.end_ms for at in BORDERS)
            for price in prices[node.name]:
                length = min(row.end_ms, price.end_ms) - max(row.start_ms, price.start_ms)
                part = row.devices * max(0, length)
                priced_ms += part
                exact += part * price.per_device_hour * NANOS / HOUR_MS
        mine = charges[(charges["node_id"] == identity) & (charges["window_start_ms"] == hour_ms)]
        assert abs(int(mine["cost_nanos"].sum()) - exact) <= Fraction(segments, 2)
        assert int(mine.loc[mine["priced"], "gpu_ms"].sum()) == priced_ms
        assert (mine.loc[~mine["priced"], "cost_nanos"] == 0).all()
        compared += exact > 0

    assert compared > 100


def test_gpu_time_is_conserved_in_the_database(two: TwoDays) -> None:
    """I1, by SQL: states fill each span, spans tile each pool's hour, holds fill what is held."""
    with two.engine.connect() as connection:
        leaks, holes, gaps, lines = connection.execute(text(_CONSERVED)).one()
        rows = connection.scalar(text("SELECT count(*) FROM pool_usage"))

    assert (leaks, holes, gaps, lines) == (0, 0, 0, 0)
    assert rows > 5 * 48 * 2


_CONSERVED = """
WITH spans AS (
    SELECT *, lag(ended_at) OVER (
        PARTITION BY cluster_id, window_start, node_id, gpu_model_id ORDER BY started_at
    ) AS before FROM pool_usage
), held AS (
    SELECT cluster_id, window_start, node_id, gpu_model_id, sum(held_ms) AS ms FROM pool_usage
    GROUP BY 1, 2, 3, 4
), holders AS (
    SELECT cluster_id, window_start, node_id, gpu_model_id, sum(held_ms) AS ms,
        sum(active_ms) AS used, sum(idle_ms) AS idle, sum(unmeasured_ms) AS unmeasured
    FROM hold_usage GROUP BY 1, 2, 3, 4
), charged AS (
    SELECT cluster_id, window_start, node_id, gpu_model_id,
        coalesce(sum(gpu_ms) FILTER (WHERE kind = 1), 0) AS used,
        coalesce(sum(gpu_ms) FILTER (WHERE kind = 2), 0) AS idle,
        coalesce(sum(gpu_ms) FILTER (WHERE kind = 3), 0) AS unmeasured,
        sum(gpu_ms) AS ms
    FROM charges GROUP BY 1, 2, 3, 4
), capacity AS (
    SELECT cluster_id, window_start, node_id, gpu_model_id, sum(devices *
        (extract(epoch FROM ended_at - started_at) * 1000)::bigint) AS ms
    FROM pool_usage GROUP BY 1, 2, 3, 4
)
SELECT
    (SELECT count(*) FROM pool_usage WHERE held_ms + unobserved_ms + stranded_ms + unallocated_ms
        <> devices * (extract(epoch FROM ended_at - started_at) * 1000)::bigint),
    (SELECT count(*) FROM spans WHERE before <> started_at),
    (SELECT count(*) FROM held FULL JOIN holders
        USING (cluster_id, window_start, node_id, gpu_model_id)
        WHERE coalesce(held.ms, 0) <> coalesce(holders.ms, 0)),
    (SELECT count(*) FROM capacity FULL JOIN charged
        USING (cluster_id, window_start, node_id, gpu_model_id)
        LEFT JOIN holders USING (cluster_id, window_start, node_id, gpu_model_id)
        WHERE capacity.ms IS DISTINCT FROM charged.ms
        OR (charged.used, charged.idle, charged.unmeasured) IS DISTINCT FROM
            (coalesce(holders.used, 0), coalesce(holders.idle, 0), coalesce(holders.unmeasured, 0)))
"""


@pytest.mark.parametrize("group", ["team", "kind", "node", "namespace", "day", "hour"])
def test_money_is_conserved_however_it_is_grouped(two: TwoDays, group: str) -> None:
    """I2: any grouping sums to the charges. Whole days of the billing zone come from the rollup."""
    total = sum(int(two.charges(cluster)["cost_nanos"].sum()) for cluster in CLUSTERS)
    with two.engine.connect() as connection:
        found = cost_sums(connection, WINDOW, [group], zone=ZONE).rows
        by_cluster = cost_sums(connection, WINDOW, ["cluster", group], zone=ZONE).rows

    columns = [name for name in found.columns if name.endswith("_nanos")]
    assert int(found[columns].to_numpy().sum()) == total
    assert int(by_cluster[columns].to_numpy().sum()) == total
    assert len(found) > 1


def test_collecting_and_rating_again_changes_nothing(two: TwoDays) -> None:
    """I4."""
    before = fingerprint(two.engine)
    some = Window(from_ms(START_MS + 5 * HOUR_MS), from_ms(START_MS + 8 * HOUR_MS))

    for cluster in CLUSTERS:
        assert two.collect(cluster, some) == [1, 1, 1]
    two.rate()

    assert fingerprint(two.engine) == before


def test_every_charge_explains_itself(two: TwoDays) -> None:
    """I5: no charge is without its usage, its hold, its price; one of each sort is read in full."""
    pods = {
        hold_id(WATCHED, one.pod_uid, GPU_RESOURCE): f"{one.namespace}/{one.pod}"
        for one in two.fleet.truth.holds
    }
    sorts = two.charges(WATCHED).drop_duplicates(["kind", "team_id", "priced"])
    with two.engine.connect() as connection:
        orphans = connection.execute(text(_ORPHANS)).one()
        told = {
            row.charge_id: explanation(connection, row.charge_id, "USD")
            for row in sorts.itertuples()
        }

    assert tuple(orphans) == (0, 0, 0)
    assert len(told) > 12
    for row in sorts.itertuples():
        team, words = told[row.charge_id][0], told[row.charge_id][1].text()
        assert team in TERMS.teams()
        assert f"kind: {ChargeKind(row.kind).name.lower()}" in words
        assert "facts revision: 1" in words
        if row.hold_id:
            assert f"pod {pods[row.hold_id]} of" in words
        if row.priced:
            assert f"charged: {from_nanos(row.cost_nanos)} USD" in words


_ORPHANS = """
SELECT
    (SELECT count(*) FROM charges c WHERE hold_id <> 0 AND NOT EXISTS (
        SELECT FROM hold_usage u JOIN holds h USING (cluster_id, hold_id)
        WHERE (u.cluster_id, u.window_start, u.node_id, u.hold_id)
            = (c.cluster_id, c.window_start, c.node_id, c.hold_id))),
    (SELECT count(*) FROM charges c WHERE NOT EXISTS (
        SELECT FROM pool_usage u WHERE (u.cluster_id, u.window_start, u.node_id, u.gpu_model_id)
            = (c.cluster_id, c.window_start, c.node_id, c.gpu_model_id)
            AND u.started_at <= c.started_at AND u.ended_at >= c.started_at)),
    (SELECT count(*) FROM charges c WHERE (cost_nanos IS NULL) <> (price_id = 0)
        OR (price_id <> 0 AND price_id NOT IN (SELECT price_id FROM price_rows)))
"""


def test_a_closed_period_does_not_change(two: TwoDays) -> None:
    """I6: the database refuses; what was there stays."""
    before = fingerprint(two.engine)
    hour = next(WINDOW.hours())
    rows = two.charges(WATCHED).query("window_start_ms == @hour.start_ms")
    owner = engine_of(two.engine.url, role=None)
    closing = "INSERT INTO billing_periods VALUES ('2026-11', '2026-11-01Z', '2026-12-01Z', now())"
    with owner.begin() as connection:
        connection.execute(text(closing))

    try:
        with (
            pytest.raises(ClosedPeriodError, match="2026-11"),
            two.engine.begin() as connection,
        ):
            ChargeStore(connection, WATCHED, ZONE).replace(hour, rows)
        with (
            pytest.raises(ClosedPeriodError, match="2026-11"),
            two.engine.begin() as connection,
        ):
            ChargeStore(connection, UNWATCHED, ZONE).replace(hour, rows.iloc[:0])
    finally:
        with owner.begin() as connection:
            connection.execute(text("DELETE FROM billing_periods"))
        owner.dispose()

    assert fingerprint(two.engine) == before


def test_unknown_is_named_and_never_zero(two: TwoDays) -> None:
    """I7: without price, owner, sample or witness a line says so."""
    charges = {cluster: two.charges(cluster) for cluster in CLUSTERS}
    with two.engine.connect() as connection:
        rows = cost_sums(connection, WINDOW, ["cluster", "gpu_model"], zone=ZONE).rows
        states = {state.partial for state in WindowStore(connection, UNWATCHED).within(WINDOW)}

    unpriced = rows[rows["gpu_model"].str.contains("T4")]
    money = [name for name in rows.columns if name.endswith("_nanos")]
    assert unpriced["unpriced_ms"].tolist() == [4 * WINDOW.length_ms] * 2
    assert (unpriced[money] == 0).all().all()
    lacking = (rows["unpriced_ms"] > 0) | (rows["unobserved_ms"] > 0)
    assert (rows["complete"] == ~lacking).all()
    assert set(rows["complete"]) == {True, False}
    sandbox = next(one for one in two.fleet.truth.holds if one.namespace == "sandbox")
    for cluster in CLUSTERS:
        lines = charges[cluster]
        own = lines["hold_id"] == hold_id(cluster, sandbox.pod_uid, GPU_RESOURCE)
        assert set(lines.loc[own, "team_id"]) == {team_id(UNOWNED)}
        assert ChargeKind.UNMEASURED in set(lines["kind"])
    # Nobody looked while Prometheus was down, nor while kube-state-metrics was.
    unobserved = charges[UNWATCHED].query("kind == @ChargeKind.UNOBSERVED.value")
    scrapes = scrapes_of_kube_state(two.fleet)
    silent = scrapes[:-1][np.diff(scrapes) > 2 * SCRAPE_MS]
    assert len(silent) == 2
    assert set(unobserved["window_start_ms"]) == {at_ms // HOUR_MS * HOUR_MS for at_ms in silent}
    assert ChargeKind.UNOBSERVED not in set(charges[WATCHED]["kind"])
    assert states == {False}
