"""A small ledger that is about to be closed: rated hours of one cluster, without any source."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pandas as pd
from sqlalchemy import Connection, Engine, text

from app.attribution.charges import ChargeKind
from app.chargeback.closing import obstacles_table, read_accept_file
from app.chargeback.statements import Statement
from app.chargeback.tables import csv_bytes
from app.store.charges import ChargeStore
from app.store.naming import NameStore
from app.store.usage import UsageStore
from app.store.windows import RatingVersions, WindowStore
from app.units.window import HOUR_MS, Window, from_ms, to_ms
from app.workflows.closing import BillingTerms, CloseOrder, close_period, preview
from tests.store.builders import CLUSTER, H100, a_charge, charges, facts

UTC_ZONE = ZoneInfo("UTC")
TERMS = BillingTerms(zone=UTC_ZONE, currency="USD", settings={})
NOVEMBER_MS = to_ms(datetime.fromisoformat("2026-11-01T00:00Z"))
DECEMBER_MS = to_ms(datetime.fromisoformat("2026-12-01T00:00Z"))
# The only hours that there are: the last three of November.
LAST_HOURS = tuple(
    Window(from_ms(start_ms), from_ms(start_ms + HOUR_MS))
    for start_ms in range(DECEMBER_MS - 3 * HOUR_MS, DECEMBER_MS, HOUR_MS)
)


def an_order(period: str = "2026-11", *, accept: str = "", at_ms: int = DECEMBER_MS) -> CloseOrder:
    """An order of the first instant at which November can be closed."""
    lines = read_accept_file(accept, file_name="accept.csv") if accept else ()
    return CloseOrder(period=period, author="ada", at_ms=at_ms, accept=lines)


def put_hour(
    connection: Connection,
    window: Window,
    *lines: pd.DataFrame,
    zone: ZoneInfo = UTC_ZONE,
    partial: bool = False,
    rated: bool = True,
) -> None:
    """Store an hour's facts and charges as if they had been collected and rated."""
    UsageStore(connection, CLUSTER).replace(window, facts(window, partial=partial))
    ChargeStore(connection, CLUSTER, zone).replace(window, charges(*lines))
    store = WindowStore(connection, CLUSTER)
    if rated:
        store.mark_rated(store.within(window), RatingVersions(rating=1, prices=0, contract=0))


def put_names(connection: Connection, teams: Iterable[str] = ("search", "ml")) -> None:
    """Save the names that lines of the builders use."""
    names = NameStore(connection)
    names.ensure_cluster(CLUSTER)
    names.ensure_team_names(teams)
    names.ensure_namespaces(["search-prod", "ml-prod"])
    names.ensure_gpu_models([H100])


def put_november(engine: Engine, hours: Sequence[Window] = LAST_HOURS) -> None:
    """Store three hours: search pays 3.001 and ml 1.000000002 for each of them."""
    with engine.begin() as connection:
        put_names(connection)
        for window in hours:
            put_hour(
                connection,
                window,
                a_charge(window, cost_nanos=3_001_000_000),
                a_charge(
                    window,
                    team="ml",
                    namespace="ml-prod",
                    pod="train-0",
                    cost_nanos=1_000_000_002,
                ),
            )


def counted(engine: Engine, table: str) -> int:
    """Return how many rows a table has."""
    with engine.connect() as connection:
        number: int = connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
    return number


def put_varied_november(engine: Engine, *, backwards: bool = False) -> None:
    """Store three hours of five teams, some without a price or an owner, in either order."""
    teams = ("search", "ml", "Zoë", "unowned", "ångström")
    with engine.begin() as connection:
        put_names(connection, teams[::-1] if backwards else teams)
        for window in LAST_HOURS[::-1] if backwards else LAST_HOURS:
            lines = [
                a_charge(
                    window,
                    kind,
                    team=team,
                    namespace=namespace,
                    pod=f"{team}-{place}",
                    cost_nanos=None if team == "ml" else 1_234_567_891 * (place + 1),
                    price_id=place + 1,
                )
                for place, team in enumerate(teams)
                for kind in (ChargeKind.USED, ChargeKind.IDLE)
                for namespace in ("search-prod", "ml-prod")
            ]
            put_hour(connection, window, *(lines[::-1] if backwards else lines))


def accepting(engine: Engine, order: CloseOrder | None = None, terms: BillingTerms = TERMS) -> str:
    """Return the file that accepts everything in the way of an order."""
    found = preview(order or an_order(), terms, engine=engine).obstacles
    first, *lines = csv_bytes(obstacles_table(found)).decode().splitlines()
    return "\n".join([first, *(f"{line}known" for line in lines)])


def close_anyway(
    engine: Engine, period: str = "2026-11", *, at_ms: int, zone: ZoneInfo = UTC_ZONE
) -> tuple[Statement, ...]:
    """Close a period with everything in its way accepted; return its statements."""
    terms = BillingTerms(zone=zone, currency="USD", settings={})
    order = an_order(period, at_ms=at_ms)
    accept = read_accept_file(accepting(engine, order, terms), file_name="accept.csv")
    return close_period(replace(order, accept=accept), terms, engine=engine).statements
