"""What is measured of stored hours, for whom, and the holes in them."""

from fractions import Fraction

import pandas as pd
import pytest
from sqlalchemy import Engine

from app.findings.advice import Weight
from app.findings.coverage import Measure, grouped
from app.simulator.exposition import Exposition
from app.simulator.fleet import Fleet
from app.simulator.modes import Mode
from app.simulator.spec import MINUTE_MS
from app.store.inventory import InventoryStore
from app.store.usage import UsageStore
from app.store.windows import WindowStore
from app.usage import frames
from app.usage.identity import model_id
from app.usage.kinds import LatencyMetric
from app.usage.notes import Note, notes_frame
from app.workflows.claims import forbidden
from app.workflows.coverage import Covered, coverage_of
from app.workflows.rating import rate_window
from tests.cli.spoiling import without
from tests.store.builders import CLUSTER, an_hour, facts, ids
from tests.workflows.stored import CONTRACT, UTC_ZONE, collect, contract, prices, span
from tests.workflows.terms import drawn_terms
from tests.workflows.worlds import BEGINS_MS, TEN_MS, WINDOW, a_mixed_spec, a_spec, a_world
from tests.workflows.worlds import CLUSTER as WORLD

HOUR_MS = 3_600_000


def covered(engine: Engine, hours: int, team: str = "") -> Covered:
    with engine.connect() as connection:
        return coverage_of(connection, span(hours), zone=UTC_ZONE, team=team)


def rate(engine: Engine, hours: int) -> None:
    prices(engine)
    contract(engine)
    rate_window(CLUSTER, span(hours), engine=engine, billing_zone=UTC_ZONE)


@pytest.fixture
def rated(database: Engine) -> Engine:
    """Two hours: 8 GPUs at 3.00, 2 held by search, 1,500 tokens and 10 requests an hour."""
    collect(database, hours=2)
    rate(database, 2)
    return database


def test_shares_are_of_all_gpu_time_and_of_all_money(rated: Engine) -> None:
    (whole,) = grouped(covered(rated, 2).rows, ())

    assert (whole.ms, whole.nanos) == (16 * HOUR_MS, 48_000_000_000)
    assert whole.shares[Measure.PRICE].time_ratio == whole.cost_ratio(Measure.PRICE) == 1
    assert whole.shares[Measure.OWNERSHIP].measured_nanos == 48_000_000_000
    tokens = whole.shares[Measure.TOKEN_THROUGHPUT]
    assert (tokens.measured_ms, tokens.measured_nanos) == (4 * HOUR_MS, 12_000_000_000)
    # The pod was seen to be ready never, and no latency is stored.
    assert whole.shares[Measure.COLD_START].measured_ms == 0
    assert whole.shares[Measure.LATENCY].measured_ms == 0


def test_a_service_is_measured_by_the_hour(database: Engine) -> None:
    collect(database, hours=2)
    key = (an_hour().start_ms, ids()["workload_id"], model_id("llama"))
    observed = [(*key, int(LatencyMetric.TIME_TO_FIRST_TOKEN), 0.5, 7)]
    with database.begin() as connection:
        store = UsageStore(connection, CLUSTER)
        latencies = pd.DataFrame(observed, columns=[*frames.LATENCY_USAGE.columns])
        store.replace(an_hour(), facts(an_hour(), latencies=latencies))
        silent = frames.empty(frames.TOKEN_USAGE)
        store.replace(an_hour(1), facts(an_hour(1), tokens=silent))
    rate(database, 2)

    found = covered(database, 2)

    (service,) = (row for row in found.rows if row.service)
    assert (service.namespace, service.service) == ("search-prod", "ranker")
    assert service.shares[Measure.TOKEN_THROUGHPUT].time_ratio == Fraction(1, 2)
    assert service.cost_ratio(Measure.LATENCY) == Fraction(1, 2)
    quantities = {hole.kind: hole.quantity for hole in found.holes if hole.subject == "ranker"}
    assert quantities["tokens_unknown"] == 2 * HOUR_MS


def test_a_service_that_falls_silent_stays_one(database: Engine) -> None:
    collect(database, hours=1)
    with database.begin() as connection:
        silent = facts(an_hour(1), tokens=frames.empty(frames.TOKEN_USAGE))
        UsageStore(connection, CLUSTER).replace(an_hour(1), silent)
    rate(database, 2)

    with database.connect() as connection:
        found = coverage_of(connection, an_hour(1), zone=UTC_ZONE)

    assert [row.service for row in found.rows] == ["", "ranker"]
    assert "tokens_unknown" in {hole.kind for hole in found.holes}


def test_a_team_sees_what_it_was_charged_and_its_own_holes(rated: Engine) -> None:
    theirs, others, whole = (covered(rated, 3, team) for team in ("search", "ml", ""))

    assert {row.namespace for row in theirs.rows} == {"search-prod"}
    assert sum(row.nanos for row in theirs.rows) == 12_000_000_000
    assert {hole.namespace for hole in theirs.holes} == {"", "search-prod"}
    assert {hole.kind for hole in theirs.holes if not hole.namespace} == {"missing_hours"}
    assert (others.rows, others.holes) == ((), ())
    assert {hole.kind for hole in theirs.holes} <= {hole.kind for hole in whole.holes}


# From half past twelve the namespace is another team's.
SHARED = CONTRACT.replace(
    "platform:",
    "  - { name: ml, cost_center: CC-2, namespaces: [search-prod],"
    ' valid_from: "2026-11-23T12:30:00Z" }\nplatform:',
)


@pytest.mark.parametrize(("terms", "sees"), [(CONTRACT, True), (SHARED, False)])
def test_notes_are_told_to_the_only_team_of_a_namespace(
    database: Engine, terms: str, *, sees: bool
) -> None:
    collect(database, hours=1)
    prices(database)
    contract(database, terms)
    rate_window(CLUSTER, an_hour(), engine=database, billing_zone=UTC_ZONE)
    kinds = {"counter_carried": "search-prod/ranker-0", "hold_end_unsure": "ml-prod/train-0"}
    with database.begin() as connection:
        noted = notes_frame(Note(kind, subject, 1, "So.") for kind, subject in kinds.items())
        WindowStore(connection, CLUSTER).put_rating_notes(an_hour(), noted)

    told = {hole.kind for hole in covered(database, 1, "search").holes}

    assert ("counter_carried" in told) is sees
    assert "hold_end_unsure" not in told
    assert kinds.keys() <= {hole.kind for hole in covered(database, 1).holes}


def test_gaps_of_the_watch_and_engines_that_nobody_scrapes_are_named(database: Engine) -> None:
    fleet = Fleet.build(a_spec(3, target_outages=0))
    exposition = Exposition(fleet, transform=without("vllm"))
    with a_world(fleet, database, exposition=exposition) as world:
        world.watch(BEGINS_MS + 5 * MINUTE_MS)
        world.collect()
        world.rate(drawn_terms(3, TEN_MS, WINDOW.end_ms))

    with database.connect() as connection:
        found = coverage_of(connection, WINDOW, zone=UTC_ZONE)

    holes = {hole.kind: hole for hole in found.holes}
    assert {"watch_gap", "unseen_engine", "tokens_unknown"} <= holes.keys()
    assert "gpuledger worker" in holes["watch_gap"].advice.todo
    assert "ServiceMonitor" in holes["unseen_engine"].advice.todo
    assert holes["unseen_engine"].namespace


def test_claims_that_may_not_be_read_are_named(database: Engine) -> None:
    fleet = Fleet.build(a_mixed_spec(3, (Mode.DRA,)))
    with a_world(fleet, database) as world:
        world.watch()
        with database.begin() as connection:
            refused = [forbidden(WORLD, "HTTP 403.")]
            InventoryStore(connection, WORLD).put_notes(refused, at_ms=BEGINS_MS)
        world.collect()

    with database.connect() as connection:
        holes = coverage_of(connection, WINDOW, zone=UTC_ZONE).holes

    (hole,) = (hole for hole in holes if hole.kind == "dra_forbidden")
    assert "deploy/kubernetes/rbac.yaml" in hole.advice.todo
    assert hole.advice.weight is Weight.MISSING


@pytest.mark.parametrize(
    ("mode", "kind", "word"),
    [
        (Mode.DRA, "claims_not_visible", "kubernetes.mode"),
        (Mode.KAI, "fractions_not_visible", "--metric-annotations-allowlist"),
    ],
)
def test_what_kube_state_metrics_does_not_show_is_named(
    database: Engine, mode: Mode, kind: str, word: str
) -> None:
    fleet = Fleet.build(a_mixed_spec(3, (mode,)))
    exposition = Exposition(fleet, transform=without("kube_pod_annotations"))
    with a_world(fleet, database, exposition=exposition) as world:
        world.collect(watched=False)

    with database.connect() as connection:
        holes = coverage_of(connection, WINDOW, zone=UTC_ZONE).holes

    found = [hole for hole in holes if hole.kind == kind]
    assert found
    assert all(hole.namespace and word in hole.advice.todo for hole in found)
