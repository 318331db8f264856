"""Bills are kept for ever as they came, and nodes under the identities that providers give."""

from dataclasses import replace

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from app.store.inventory import InventoryStore
from app.store.provider_bills import ProviderBillStore
from app.usage.identity import MADE_UP_UID, node_id
from app.usage.inventory import NodeFacts
from tests.store.builders import CLUSTER, NOON_MS, a_node

MACHINE = "aws:///eu-central-1a/i-0abc12345def67890"


def seen(ledger: Connection, node: NodeFacts, *, at_ms: int = NOON_MS) -> None:
    InventoryStore(ledger, CLUSTER).put_node_facts([node], at_ms=at_ms)


def test_a_machine_keeps_its_identity_where_a_later_source_does_not_tell_it(
    ledger: Connection,
) -> None:
    seen(ledger, replace(a_node(), provider_id=MACHINE))
    seen(ledger, a_node(), at_ms=NOON_MS + 1)

    (life,) = ProviderBillStore(ledger).node_lives()

    assert (life.provider_id, life.cluster, life.name) == (MACHINE, CLUSTER, "gpu-1")


def test_a_node_under_a_made_up_uid_is_left_out_once_its_own_is_known(ledger: Connection) -> None:
    made_up = f"{MADE_UP_UID}gpu-1@{a_node().created_ms}"
    seen(ledger, a_node(uid=made_up))
    (before,) = ProviderBillStore(ledger).node_lives()
    seen(ledger, a_node(uid="uid-own"))
    (after,) = ProviderBillStore(ledger).node_lives()

    assert before.node_id == node_id(CLUSTER, made_up)
    assert after.node_id == node_id(CLUSTER, "uid-own")


def test_the_hostname_is_a_name_of_the_node(ledger: Connection) -> None:
    seen(ledger, replace(a_node(), labels=(("kubernetes.io/hostname", "ip-10-0-0-7"),)))

    assert ProviderBillStore(ledger).node_lives()[0].hostname == "ip-10-0-0-7"


@pytest.mark.parametrize("table", ["provider_bills", "provider_bill_rows", "provider_bill_sums"])
@pytest.mark.parametrize("command", ["DELETE FROM {}", "UPDATE {} SET bill_id = 1", "TRUNCATE {}"])
def test_the_service_may_not_change_a_bill(ledger: Connection, table: str, command: str) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"), ledger.begin_nested():
        ledger.execute(text(command.format(table)))
