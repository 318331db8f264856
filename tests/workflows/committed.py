"""A second cluster beside `tests.workflows.stored`, and commitments over both."""

from decimal import Decimal

import pandas as pd
from sqlalchemy import Engine, text

from app.chargeback.costs import costs_table
from app.store.charges import ChargeStore
from app.store.inventory import InventoryStore
from app.store.usage import UsageStore
from app.store.windows import WindowStore
from app.workflows.commitments import (
    CommitmentFile,
    import_commitments,
)
from app.workflows.imports import Imported
from app.workflows.rating import rate_window
from app.workflows.reading import cost_sums
from tests.store.builders import NOON_MS, a_count, a_hold, a_node, an_hour, facts
from tests.workflows.stored import UTC_ZONE, span

OTHER = "prod-us"
COMMITMENTS = """\
commitment,type,billing_account,clusters,provider,region,instance_type,gpu_model,capacity_type,unit,quantity,upfront,recurring_per_hour,currency,term_start,term_end,payer
ri{account},reservation,{account},,,,,H100,,gpu_hour,{quantity},,{price},USD,2026-11-01,2026-12-01,{payer}
"""


def collect_other(engine: Engine, hours: int, name: str = OTHER) -> None:
    with engine.begin() as connection:
        inventory = InventoryStore(connection, name)
        inventory.put_node(a_node(), [a_count()], at_ms=NOON_MS)
        inventory.put_hold(a_hold())
        for hour in range(hours):
            UsageStore(connection, name).replace(an_hour(hour), facts(an_hour(hour)))


def commit(
    engine: Engine,
    quantity: int = 12,
    price: str = "12",
    payer: str = "",
    *,
    account: str = "",
    dry_run: bool = False,
    why: str = "",
) -> Imported:
    return import_commitments(
        CommitmentFile(
            text=COMMITMENTS.format(quantity=quantity, price=price, payer=payer, account=account),
            file_name="commitments.csv",
            currency="USD",
            at_ms=NOON_MS,
            reason=why,
            author=why,
        ),
        engine=engine,
        billing_zone=UTC_ZONE,
        dry_run=dry_run,
    )


def rate(engine: Engine, cluster: str, hours: int = 1) -> None:
    rate_window(cluster, span(hours), engine=engine, billing_zone=UTC_ZONE)


def charges(engine: Engine, cluster: str, hours: int = 1) -> pd.DataFrame:
    with engine.connect() as connection:
        return ChargeStore(connection, cluster, UTC_ZONE).within(span(hours))


def pending(engine: Engine, cluster: str) -> int:
    with engine.connect() as connection:
        return len(WindowStore(connection, cluster).pending())


def unused(engine: Engine) -> dict[int, int]:
    """Return by cluster what the ledger and its rollup have of unused commitments."""
    with engine.connect() as connection:
        lines = connection.execute(
            text(
                "SELECT cluster_id, sum(cost_nanos)::bigint FROM charges WHERE step = 10 GROUP BY 1"
            )
        ).all()
        days = connection.execute(
            text(
                "SELECT cluster_id, sum(commitment_unused_nanos)::bigint FROM charge_days"
                " WHERE commitment_unused_nanos <> 0 GROUP BY 1"
            )
        ).all()
    assert lines == days
    return {row[0]: row[1] for row in lines}


def costs_by(engine: Engine, group: str) -> dict[str, Decimal]:
    with engine.connect() as connection:
        found = cost_sums(connection, span(1), (group,), (), zone=UTC_ZONE)
    table = costs_table(found.rows, (group,), "USD").records()
    return {str(row[group]): Decimal(str(row["total_cost"])) for row in table}
