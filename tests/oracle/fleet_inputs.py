"""A simulated fleet's truth as plain inputs of the ledger oracle."""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction

from app.simulator.hardware import Node
from app.simulator.modes import Mode
from app.simulator.truth import Piece, PriceSpan, TrueHold, Truth
from tests.oracle.ledger_oracle import Count, OracleHold, OracleNode, Price


def node_keys(nodes: Iterable[Node]) -> dict[str, str]:
    """Return by UID what a node is called here: its name, and more where one came again by it."""
    seen: set[str] = set()
    keys = {}
    for node in nodes:
        keys[node.uid] = f"{node.name}#{node.uid}" if node.name in seen else node.name
        seen.add(node.name)
    return keys


def oracle_nodes(
    truth: Truth,
    prices: Mapping[str, Sequence[PriceSpan]] | None = None,
    *,
    mig_share: str = "max",
) -> list[OracleNode]:
    """Return the nodes with their devices, counts and, by node name, prices."""
    keys = node_keys(truth.nodes)
    return [
        OracleNode(
            name=keys[node.uid],
            devices=node.devices,
            start_ms=node.created_ms,
            end_ms=node.deleted_ms,
            counts=tuple(
                Count(
                    start_ms=s.start_ms,
                    end_ms=s.end_ms,
                    allocatable=s.compute if mig_share == "compute" else s.allocatable,
                )
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


def oracle_holds(
    truth: Truth, *, mig_share: str = "max", time_slicing: str = "slots"
) -> list[OracleHold]:
    """Return the holds; their keys are pod UIDs, or those of claims that no pod uses.

    Presence counts for slots of time-slicing alone: those of MPS are enforced.
    """

    def share(piece: Piece) -> Fraction:
        return piece.compute if mig_share == "compute" else piece.share

    def slots(hold: TrueHold, piece: Piece) -> int:
        return piece.slots if time_slicing == "present" and hold.mode is not Mode.MPS else 0

    keys = node_keys(truth.nodes)
    return [
        OracleHold(
            key=hold.pod_uid,
            node=keys[hold.node_uid],
            namespace=hold.namespace,
            devices=share(piece),
            start_ms=piece.start_ms,
            end_ms=piece.end_ms,
            slots=slots(hold, piece),
            collected=piece.share,
        )
        for hold in truth.holds
        for piece in hold.pieces()
    ]
