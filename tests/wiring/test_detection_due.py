"""The daily detection runs once a settled day, as soon as its evidence is whole."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import URL

from app.settings import ClusterSettings, KubernetesSettings, PrometheusSettings, Settings
from app.wiring import Ledger
from tests.store.builders import CLUSTER, NOON
from tests.workflows.stored import collect, span

# Where a day begins at 14:00 UTC: the evidence of two hours is that from noon, settled at 17:00.
ZONE = "Etc/GMT-10"
SETTLED = NOON + timedelta(hours=5)
TEN_MINUTES = timedelta(minutes=10)


def a_ledger(engine: Engine, url: URL, *names: str) -> Ledger:
    clusters = tuple(
        ClusterSettings(
            name=name,
            prometheus=PrometheusSettings(url="http://127.0.0.1:9"),
            kubernetes=KubernetesSettings(mode="off"),
            settle_minutes=180,
        )
        for name in names or (CLUSTER,)
    )
    settings = Settings(clusters=clusters, billing_zone=ZONE, waste={"evidence_hours": 2})
    return Ledger(settings, url, engine, lambda: SETTLED)


@pytest.fixture
def ledger(database: Engine, database_url: URL) -> Ledger:
    return a_ledger(database, database_url)


def test_a_day_is_looked_at_when_it_has_settled_and_only_once(
    ledger: Ledger, database: Engine
) -> None:
    collect(database, hours=2)
    ledger.rate(CLUSTER, span(2))

    assert ledger.detect_due(SETTLED - TEN_MINUTES) is None
    detected = ledger.detect_due(SETTLED)
    assert detected is not None
    assert detected.window == span(2)
    assert ledger.detect_due(SETTLED + TEN_MINUTES) is None


def test_evidence_that_is_not_there_yet_is_waited_for(ledger: Ledger, database: Engine) -> None:
    """The tick at which a day settles is also the one that hands out its last hour."""
    collect(database, hours=1)
    ledger.rate(CLUSTER, span(1))
    assert ledger.detect_due(SETTLED) is None

    collect(database, hours=2)
    assert ledger.detect_due(SETTLED + TEN_MINUTES) is None

    ledger.rate(CLUSTER, span(2))
    assert ledger.detect_due(SETTLED + 2 * TEN_MINUTES) is not None


def test_a_look_by_hand_at_the_same_hours_counts(ledger: Ledger, database: Engine) -> None:
    collect(database, hours=2)
    ledger.rate(CLUSTER, span(2))

    ledger.detect(span(2).end)

    assert ledger.detect_due(SETTLED) is None


def test_a_cluster_that_stays_behind_is_waited_for_half_a_day(
    database: Engine, database_url: URL
) -> None:
    ledger = a_ledger(database, database_url, CLUSTER, "behind")
    collect(database, hours=2)
    ledger.rate(CLUSTER, span(2))

    assert ledger.detect_due(SETTLED + timedelta(hours=12) - TEN_MINUTES) is None
    assert ledger.detect_due(SETTLED + timedelta(hours=12)) is not None


def test_without_any_evidence_there_is_nothing_to_look_at(ledger: Ledger) -> None:
    assert ledger.detect_due(SETTLED + timedelta(hours=20)) is None
