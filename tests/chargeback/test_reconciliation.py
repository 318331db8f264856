"""Whatever is on a bill and in the ledger: the bill adds up, to the nano."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from app.attribution.bill_pieces import Place, pieces_of
from app.attribution.days import day_starts
from app.attribution.node_matching import NodeIndex
from app.attribution.provider_bills import Bill, BillRow, ChargeCategory, NodeLife
from app.attribution.redistribution import billing_days
from app.attribution.true_up import PoolCost, node_days, spans_of, true_up_lines
from app.chargeback.reconciliation import Books, OtherCharges, RowWords, reconcile
from app.chargeback.reconciliation_tables import (
    MONEY_COLUMNS,
    SUMMARY_COLUMNS,
    node_table,
    summary_table,
    unmatched_table,
)
from app.units.window import HOUR_MS, OPEN_MS

ZONES = (ZoneInfo("Asia/Kolkata"), ZoneInfo("UTC"), ZoneInfo("America/New_York"))
# 2026-10-01T00:00:00Z.
OCTOBER_MS = 1_790_812_800_000
DAY_MS = 24 * HOUR_MS
PARTS = ("pool_cost", "commitment_unused", "not_in_cluster", "true_up", "unmatched")

BILLS = tuple(
    Bill(
        bill_id=number,
        provider="AWS",
        billing_account=account,
        start_ms=start_ms,
        end_ms=start_ms + 31 * DAY_MS,
        covered_until_ms=start_ms + 31 * DAY_MS,
    )
    for number, (account, start_ms) in enumerate(
        (("1", OCTOBER_MS), ("2", OCTOBER_MS), ("1", OCTOBER_MS - 31 * DAY_MS)), start=1
    )
)
LIVES = (
    NodeLife(cluster_id=7, cluster="prod", node_id=1, name="gpu-1", provider_id="x:///i-0000000a"),
    NodeLife(
        cluster_id=7,
        cluster="prod",
        node_id=2,
        name="gpu-2",
        provider_id="x:///i-0000000b",
        created_ms=OCTOBER_MS - 7 * HOUR_MS - 12_345,
        deleted_ms=OCTOBER_MS + 29 * HOUR_MS + 1,
    ),
    NodeLife(
        cluster_id=7,
        cluster="prod",
        node_id=3,
        name="cpu-1",
        provider_id="x:///i-0000000c",
        deleted_ms=OPEN_MS,
    ),
)

HALVES = st.integers(-80, 160).map(lambda half: OCTOBER_MS + half * HOUR_MS // 2)
NANOS = st.integers(-(10**14), 10**14)
ROWS = st.lists(
    st.builds(
        lambda bill, nanos, start, hours, category, resource, unused: (
            bill,
            nanos,
            (start, start + hours * HOUR_MS),
            category,
            resource,
            unused,
        ),
        st.integers(1, 3),
        NANOS,
        HALVES,
        st.integers(1, 40),
        st.sampled_from([ChargeCategory.USAGE, ChargeCategory.USAGE, *ChargeCategory]),
        st.sampled_from(["i-0000000a", "i-0000000b", "i-0000000c", "i-0000000d", ""]),
        st.booleans(),
    ),
    max_size=12,
)


@given(
    rows=ROWS,
    pool=st.lists(
        st.tuples(st.integers(-3, 7), st.integers(1, 2), st.integers(0, 10**13), st.booleans()),
        max_size=12,
    ),
    others=st.lists(st.tuples(st.integers(1, 3), NANOS), max_size=3, unique_by=lambda one: one[0]),
    unused=st.dictionaries(st.integers(1, 3), NANOS, max_size=3),
    zone=st.sampled_from(ZONES),
    posts=st.booleans(),
)
def test_every_bill_adds_up_to_the_nano(  # each is drawn
    rows: list[tuple[int, int, tuple[int, int], ChargeCategory, str, bool]],
    pool: list[tuple[int, int, int, bool]],
    others: list[tuple[int, int]],
    unused: dict[int, int],
    zone: ZoneInfo,
    posts: bool,  # noqa: FBT001 # drawn
) -> None:
    made = [
        BillRow(
            bill_id=bill,
            number=number,
            start_ms=span[0],
            end_ms=span[1],
            category=category,
            nanos=nanos,
            unused=is_unused,
            resource_id=resource,
            service="EC2",
        )
        for number, (bill, nanos, span, category, resource, is_unused) in enumerate(rows)
    ]
    drawn = _Drawn(made, _costs(pool, zone), zone, posts=posts)
    other = tuple(
        OtherCharges(bill_id=bill, service="S3", category="usage", rows=2, nanos=nanos)
        for bill, nanos in others
    )

    books = _books(drawn, other, unused)
    found = reconcile(books)

    for one in (*found.bills, found.total):
        assert one.provider_bill == sum(getattr(one, name) for name in PARTS)
    assert found.total.provider_bill == sum(books.totals.values())
    # The ledger and the lists say the same as the summary.
    assert found.total.true_up - found.total.waiting == sum(books.posted.values())
    assert sum(one.nanos for one in found.unmatched) == found.total.unmatched
    assert sum(one.true_up_nanos for one in found.nodes) == found.total.true_up
    assert sum(one.not_in_cluster_nanos for one in found.nodes) == found.total.not_in_cluster
    _every_pool_cost_stands_against_one_bill(books, drawn.costs, found.total.pool_cost)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Rows, pool costs and a zone; ``posts`` says whether the true-up is posted."""

    rows: list[BillRow]
    costs: list[PoolCost]
    zone: ZoneInfo
    posts: bool


def _books(drawn: _Drawn, other: tuple[OtherCharges, ...], unused: dict[int, int]) -> Books:
    """What a reconciliation is made from, as the workflow gathers it."""
    rows, costs, zone = drawn.rows, drawn.costs, drawn.zone
    pieces = pieces_of(rows, NodeIndex(LIVES), lambda start, end: day_starts(zone, start, end))
    starts = ({one.day_ms for one in pieces} | {one.day_ms for one in costs}) - {0}
    spans = {ms: spans_of(billing_days(zone, ms, ms + 1)[0], BILLS) for ms in starts}
    days = node_days(BILLS, pieces, costs, spans)
    posted: dict[tuple[tuple[int, int], int], int] = {}
    for line in true_up_lines(days, costs, lambda _day, _cluster: 5) if drawn.posts else ():
        key = ((line.cluster_id, line.node_id), line.day_ms)
        posted[key] = posted.get(key, 0) + line.nanos
    totals = {
        bill.bill_id: sum(row.nanos for row in rows if row.bill_id == bill.bill_id)
        + sum(one.nanos for one in other if one.bill_id == bill.bill_id)
        for bill in BILLS
    }
    return Books(
        bills=BILLS,
        totals=totals,
        row_counts=dict.fromkeys(totals, 1),
        pieces=tuple(pieces),
        days=days,
        others=other,
        posted=posted,
        unused_nanos=unused,
        words={
            (row.bill_id, row.number): RowWords(resource=row.resource_id, service=row.service)
            for row in rows
        },
        node_names={(one.cluster_id, one.node_id): (one.cluster, one.name) for one in LIVES},
    )


def _costs(pool: list[tuple[int, int, int, bool]], zone: ZoneInfo) -> list[PoolCost]:
    """Pool costs of nodes 1 and 2 on days around the border of the months, one a span."""
    made: dict[tuple[int, int], PoolCost] = {}
    for day, node, nanos, priced in pool:
        one = billing_days(zone, OCTOBER_MS + day * DAY_MS, OCTOBER_MS + day * DAY_MS + 1)[0]
        for span_ms, _ in spans_of(one, BILLS):
            made[node, span_ms] = PoolCost(
                day_ms=one.start_ms,
                span_ms=span_ms,
                cluster_id=7,
                node_id=node,
                team_id=1,
                namespace_id=1,
                gpu_model_id=1,
                nanos=nanos,
                priced=priced,
            )
    return sorted(made.values())


def _every_pool_cost_stands_against_one_bill(
    books: Books, costs: list[PoolCost], pool_cost: int
) -> None:
    """Only what lies in no period of the accounts that charge the node that day is left out."""
    charged = {
        (one.node, one.day_ms, BILLS[one.bill_id - 1].billing_account)
        for one in books.pieces
        if one.place is Place.IN_CLUSTER
    }
    assert pool_cost == sum(
        one.nanos
        for one in costs
        if any(
            bill.start_ms <= one.span_ms < bill.end_ms
            and (one.node, one.day_ms, bill.billing_account) in charged
            for bill in BILLS
        )
    )


def test_the_tables_have_every_figure_as_an_exact_decimal() -> None:
    row = BillRow(
        bill_id=1,
        number=1,
        start_ms=OCTOBER_MS,
        end_ms=OCTOBER_MS + DAY_MS,
        category=ChargeCategory.USAGE,
        nanos=3_000_000_001,
        resource_id="i-0000000d",
        service="EC2",
    )
    found = reconcile(
        Books(
            bills=BILLS[:1],
            totals={1: 3_000_000_001},
            row_counts={1: 1},
            pieces=tuple(pieces_of([row], NodeIndex(LIVES), lambda start, _end: (start,))),
            days=(),
            others=(),
            posted={},
            unused_nanos={},
            words={(1, 1): RowWords(resource="i-0000000d", service="EC2")},
            node_names={},
        )
    )

    table = summary_table(found, period="2026-10", currency="USD")

    assert table.columns == SUMMARY_COLUMNS
    bill, total = table.records()
    assert str(bill["provider_bill"]) == str(total["unmatched"]) == "3.000000001"
    assert (bill["provider"], total["provider"], total["complete"]) == ("AWS", "", True)
    assert {str(bill[name]) for name in MONEY_COLUMNS} == {"0.00", "3.000000001"}
    (item,) = unmatched_table(found.unmatched, "USD").records()
    assert (item["resource"], item["reason"], str(item["cost"])) == (
        "i-0000000d",
        "no_node",
        "3.000000001",
    )
    assert node_table(found.nodes, "USD").rows == ()
