"""Since when a node's devices could be held: from when it shows them, if it was seen without."""

from dataclasses import replace

from sqlalchemy import Connection

from app.store.inventory import InventoryStore
from app.usage.holds import pool_counts_of
from app.usage.inventory import NodeFacts
from tests.usage.builders import MINUTE, SECOND, T0, WINDOW, a_node

CLUSTER = "late-devices"
CREATED = T0 + 10 * SECOND
WHOLE = replace(a_node(), created_ms=CREATED)
BARE = replace(a_node(capacity=(), labels=()), created_ms=CREATED)


def put(ledger: Connection, node: NodeFacts, at_ms: int) -> None:
    counts, _ = pool_counts_of(node)
    InventoryStore(ledger, CLUSTER).put_node(node, counts, at_ms=at_ms)


def spans(ledger: Connection) -> tuple[list[int], list[int]]:
    store = InventoryStore(ledger, CLUSTER)
    pools, counts = store.pools(WINDOW), store.counts(WINDOW)
    return pools["start_ms"].tolist(), counts["start_ms"].tolist()


def test_devices_that_a_node_was_seen_without_count_from_when_it_shows_them(
    ledger: Connection,
) -> None:
    put(ledger, BARE, CREATED)
    put(ledger, WHOLE, CREATED + 40 * SECOND)

    # The machine is there from its creation; until its devices are advertised they are stranded.
    assert spans(ledger) == ([CREATED], [CREATED + 40 * SECOND])


def test_devices_of_a_node_that_is_first_seen_with_them_count_from_its_creation(
    ledger: Connection,
) -> None:
    put(ledger, WHOLE, CREATED + 10 * MINUTE)

    assert spans(ledger) == ([CREATED], [CREATED])
