"""The bill of a synthetic fleet is a whole FOCUS file, and every machine on it is found."""

from decimal import Decimal
from pathlib import Path

from app.attribution.bill_pieces import Place, pieces_of
from app.attribution.node_matching import MatchedBy, NodeIndex
from app.attribution.provider_bills import BillRow, NodeLife
from app.simulator.fleet import Fleet
from app.simulator.provider_bill import BilledHours, bill_csv
from app.simulator.spec import HOUR_MS, FleetSpec
from app.sources.focus_file import FocusRow, open_focus

# 2026-10-05T00:00:00Z.
START_MS = 1_791_158_400_000
HOURS = 6


def rows_of(path: Path) -> list[BillRow]:
    def value(row: FocusRow) -> BillRow:
        return BillRow(
            bill_id=1,
            number=row.line,
            start_ms=row.start_ms,
            end_ms=row.end_ms,
            category=row.category,
            nanos=int(row.effective * 10**9),
            compute=row.service_category == "Compute",
            resource_id=row.resource_id,
            resource_name=row.resource_name,
        )

    return [value(row) for row in open_focus(path).rows]


def test_every_machine_is_found_and_paid_from_its_start(tmp_path: Path) -> None:
    """Each machine costs 36.00 an hour, 0.01 a second: 4 minutes before it joins are 2.40."""
    fleet = Fleet.build(
        FleetSpec(seed=3, start_ms=START_MS, hours=HOURS, nodes=6, node_joins=2, node_leaves=1)
    )
    kinds = {node.shape.instance_type for node in fleet.nodes}
    hourly = dict.fromkeys(kinds, Decimal(36))
    end_ms = START_MS + HOURS * HOUR_MS
    billed = BilledHours(nodes=fleet.nodes, hourly=hourly, start_ms=START_MS, end_ms=end_ms)
    (tmp_path / "bill.csv").write_bytes(bill_csv(billed))
    lives = [
        NodeLife(
            cluster_id=1,
            cluster="sim",
            node_id=node.number + 1,
            name=node.name,
            provider_id=node.provider_id(),
            created_ms=node.created_ms,
            deleted_ms=node.deleted_ms,
        )
        for node in fleet.nodes
    ]

    rows = rows_of(tmp_path / "bill.csv")
    index = NodeIndex(lives)
    pieces = pieces_of(rows, index, lambda start, _end: (start // (24 * HOUR_MS) * 24 * HOUR_MS,))

    machines = [row for row in rows if row.compute]
    assert {index.find(row).by for row in machines} <= {MatchedBy.IDENTITY, MatchedBy.NAME}
    assert {life.node_id for row in machines for life in index.find(row).lives} == {
        node.number + 1 for node in fleet.nodes
    }
    joined = sum(START_MS < node.created_ms < end_ms for node in fleet.nodes)
    assert joined >= 1
    outside = [one.nanos for one in pieces if one.place is Place.NOT_IN_CLUSTER]
    assert sum(outside) == joined * 2_400_000_000
    assert sum(one.nanos for one in pieces) == sum(row.nanos for row in rows)
