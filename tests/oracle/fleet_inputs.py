"""A simulated fleet's truth as plain inputs of the ledger oracle."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

from app.simulator.truth import PriceSpan, Truth
from tests.oracle.ledger_oracle import Count, OracleHold, OracleNode, Price


def oracle_nodes(
    truth: Truth, prices: Mapping[str, Sequence[PriceSpan]] | None = None
) -> list[OracleNode]:
    """Return the nodes with their devices, counts and, by node name, prices."""
    return [
        OracleNode(
            name=node.name,
            devices=node.devices,
            start_ms=node.created_ms,
            end_ms=node.deleted_ms,
            counts=tuple(
                Count(start_ms=s.start_ms, end_ms=s.end_ms, allocatable=s.allocatable)
                for s in node.counts()
            ),
            prices=tuple(
                Price(
                    start_ms=price.start_ms,
                    end_ms=price.end_ms,
                    per_device_hour=Fraction(price.gpu_hour),
                )
                for price in (prices or {}).get(node.name, ())
            ),
        )
        for node in truth.nodes
    ]


def oracle_holds(truth: Truth) -> list[OracleHold]:
    """Return the holds; their keys are pod UIDs."""
    return [
        OracleHold(
            key=hold.pod_uid,
            node=hold.node,
            namespace=hold.namespace,
            devices=len(hold.devices),
            start_ms=hold.start_ms,
            end_ms=hold.end_ms,
        )
        for hold in truth.holds
    ]
