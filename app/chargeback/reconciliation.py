"""The reconciliation of a month: every provider's bill against the ledger, exact to the nano.

provider bill = pool cost + commitment_unused + not_in_cluster + true_up + unmatched
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.attribution.bill_pieces import Piece, Place
from app.attribution.provider_bills import Bill
from app.attribution.true_up import NodeDay

# A matched row of a node and day of which the ledger has no first-hand line.
NO_POOL = "no_pool"
COMMITMENT_DIFFERENCE = "commitment_difference"

_NodeDayKey = tuple[tuple[int, int], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherCharges:
    """What is on a bill and can be no node's, by service and category, in nanos."""

    bill_id: int
    service: str
    category: str
    rows: int
    nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RowWords:
    """What a kept row is called: its resource or else its service."""

    resource: str
    service: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Everything that bills of a period are compared with.

    ``totals`` and ``row_counts`` are those of whole bills, ``days`` every comparison of a node's
    day that one of the bills charges (those with bills of a neighboring period as well), ``posted``
    the true-up lines by node and day, ``unused_nanos`` the ledger's commitment_unused lines by
    bill, ``words`` the kept rows by bill and number, ``node_names`` cluster and name.
    """

    bills: tuple[Bill, ...]
    totals: Mapping[int, int]
    row_counts: Mapping[int, int]
    pieces: tuple[Piece, ...]
    days: tuple[NodeDay, ...]
    others: tuple[OtherCharges, ...]
    posted: Mapping[_NodeDayKey, int]
    unused_nanos: Mapping[int, int]
    words: Mapping[tuple[int, int], RowWords]
    node_names: Mapping[tuple[int, int], tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """One bill, or all of them, in nanos; the identity of the module holds for every value.

    Of ``true_up``, ``waiting`` is not posted: of days that are not rated, not priced, not yet whole
    on the bill, or closed. Of ``unmatched``, ``other_services`` can be no node's, and
    ``commitment_difference`` is what the provider charges for unused commitments beyond the
    ledger's commitment_unused.
    """

    provider: str
    billing_account: str
    provider_bill: int = 0
    pool_cost: int = 0
    commitment_unused: int = 0
    not_in_cluster: int = 0
    true_up: int = 0
    unmatched: int = 0
    waiting: int = 0
    other_services: int = 0
    commitment_difference: int = 0
    rows: int = 0
    nodes: int = 0
    node_days: int = 0
    waiting_days: int = 0
    unmatched_rows: int = 0

    @property
    def complete(self) -> bool:
        """Say whether nothing waits: every difference is posted."""
        return not self.waiting_days

    def checked(self) -> "Reconciled":
        """Return itself; a bill that does not add up is an error of ours."""
        parts = self.pool_cost + self.commitment_unused + self.not_in_cluster
        if self.provider_bill != parts + self.true_up + self.unmatched:
            message = f"The bill of {self.provider} {self.billing_account} does not add up."
            raise AssertionError(message)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class UnmatchedItem:
    """Rows that are no node's, of one resource or service and for one reason."""

    provider: str
    billing_account: str
    resource: str
    service: str
    reason: str
    rows: int
    nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDifference:
    """One node's charges of the period against its pool cost."""

    cluster: str
    node: str
    days: int
    provider_nanos: int
    pool_nanos: int
    not_in_cluster_nanos: int

    @property
    def true_up_nanos(self) -> int:
        """The difference."""
        return self.provider_nanos - self.pool_nanos


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """A period's bills, their total, and both lists with the most money first."""

    bills: tuple[Reconciled, ...]
    total: Reconciled
    unmatched: tuple[UnmatchedItem, ...]
    nodes: tuple[NodeDifference, ...]


def reconcile(books: Books) -> Reconciliation:
    """Compare bills with the ledger."""
    differing = _differing(books)
    bills = tuple(
        _reconciled(bill, books, differing).checked()
        for bill in sorted(books.bills, key=lambda one: one.key)
    )
    return Reconciliation(
        bills=bills,
        total=_total(bills, books),
        unmatched=_unmatched(books),
        nodes=_differences(books),
    )


@dataclass(frozen=True, slots=True)
class _Waiting:
    """What is not posted of a node's day; it is shown with the last of the day's bills."""

    nanos: int
    bill_id: int


_NOTHING = _Waiting(0, 0)


def _differing(books: Books) -> dict[_NodeDayKey, _Waiting]:
    """Return the node-days whose difference is not what is posted, over all of their bills."""
    wanted: dict[_NodeDayKey, int] = {}
    last: dict[_NodeDayKey, int] = {}
    mine = {bill.bill_id for bill in books.bills}
    for day in books.days:
        key = (day.node, day.day_ms)
        wanted[key] = wanted.get(key, 0) + day.true_up_nanos
        if day.bill_id in mine:
            last[key] = max(last.get(key, day.bill_id), day.bill_id)
    return {
        key: _Waiting(nanos - books.posted.get(key, 0), last[key])
        for key, nanos in wanted.items()
        if nanos != books.posted.get(key, 0) and key in last
    }


def _reconciled(bill: Bill, books: Books, differing: Mapping[_NodeDayKey, _Waiting]) -> Reconciled:
    days = [day for day in books.days if day.bill_id == bill.bill_id]
    compared = {(day.node, day.day_ms) for day in days}
    sums = dict.fromkeys(Place, 0)
    no_pool, unmatched_rows = 0, set()
    for piece in books.pieces:
        if piece.bill_id != bill.bill_id:
            continue
        sums[piece.place] += piece.nanos
        lost = piece.place is Place.IN_CLUSTER and (piece.node, piece.day_ms) not in compared
        no_pool += piece.nanos if lost else 0
        if lost or piece.place is Place.UNMATCHED:
            unmatched_rows.add(piece.number)
    others = [one for one in books.others if one.bill_id == bill.bill_id]
    other_nanos = sum(one.nanos for one in others)
    unused = books.unused_nanos.get(bill.bill_id, 0)
    difference = sums[Place.COMMITMENT_UNUSED] - unused
    waiting = [
        differing[key] for key in compared if differing.get(key, _NOTHING).bill_id == bill.bill_id
    ]
    return Reconciled(
        provider=bill.provider,
        billing_account=bill.billing_account,
        provider_bill=books.totals[bill.bill_id],
        pool_cost=sum(day.pool_nanos for day in days),
        commitment_unused=unused,
        not_in_cluster=sums[Place.NOT_IN_CLUSTER],
        true_up=sum(day.true_up_nanos for day in days),
        unmatched=sums[Place.UNMATCHED] + no_pool + other_nanos + difference,
        waiting=sum(one.nanos for one in waiting),
        other_services=other_nanos,
        commitment_difference=difference,
        rows=books.row_counts[bill.bill_id],
        nodes=len({day.node for day in days}),
        node_days=len(compared),
        waiting_days=len(waiting),
        unmatched_rows=len(unmatched_rows) + sum(one.rows for one in others),
    )


def _total(bills: Sequence[Reconciled], books: Books) -> Reconciled:
    summed = {
        name: sum(getattr(one, name) for one in bills)
        for name in Reconciled.__dataclass_fields__
        if name not in ("provider", "billing_account", "nodes")
    }
    nodes = len({day.node for day in books.days})
    return Reconciled(provider="", billing_account="", nodes=nodes, **summed).checked()


def _unmatched(books: Books) -> tuple[UnmatchedItem, ...]:
    compared = {(day.bill_id, day.node, day.day_ms) for day in books.days}
    money: dict[tuple[int, str, str, str], int] = {}
    rows: dict[tuple[int, str, str, str], set[int]] = {}
    for piece in books.pieces:
        reason = piece.reason
        if piece.place is Place.IN_CLUSTER:
            if (piece.bill_id, piece.node, piece.day_ms) in compared:
                continue
            reason = NO_POOL
        elif piece.place is not Place.UNMATCHED:
            continue
        words = books.words[piece.bill_id, piece.number]
        key = (piece.bill_id, words.resource, words.service, reason)
        money[key] = money.get(key, 0) + piece.nanos
        rows.setdefault(key, set()).add(piece.number)
    counts = {key: len(numbers) for key, numbers in rows.items()}
    for one in books.others:
        key = (one.bill_id, "", one.service, one.category)
        money[key] = money.get(key, 0) + one.nanos
        counts[key] = counts.get(key, 0) + one.rows
    for bill_id, nanos in _commitment_differences(books).items():
        money[bill_id, "", "", COMMITMENT_DIFFERENCE] = nanos
    by_id = {bill.bill_id: bill for bill in books.bills}
    items = [
        UnmatchedItem(
            provider=by_id[bill_id].provider,
            billing_account=by_id[bill_id].billing_account,
            resource=resource,
            service=service,
            reason=reason,
            rows=counts.get((bill_id, resource, service, reason), 0),
            nanos=nanos,
        )
        for (bill_id, resource, service, reason), nanos in money.items()
    ]
    return tuple(sorted(items, key=lambda one: (-abs(one.nanos), _text_key(one))))


def _text_key(item: UnmatchedItem) -> tuple[str, ...]:
    return item.provider, item.billing_account, item.resource, item.service, item.reason


def _commitment_differences(books: Books) -> dict[int, int]:
    found = {bill.bill_id: -books.unused_nanos.get(bill.bill_id, 0) for bill in books.bills}
    for piece in books.pieces:
        if piece.place is Place.COMMITMENT_UNUSED:
            found[piece.bill_id] += piece.nanos
    return {bill_id: nanos for bill_id, nanos in found.items() if nanos}


def _differences(books: Books) -> tuple[NodeDifference, ...]:
    mine = {bill.bill_id for bill in books.bills}
    days: dict[tuple[int, int], list[NodeDay]] = {}
    for day in books.days:
        if day.bill_id in mine:
            days.setdefault(day.node, []).append(day)
    outside: dict[tuple[int, int], int] = {}
    for piece in books.pieces:
        if piece.place is Place.NOT_IN_CLUSTER:
            outside[piece.node] = outside.get(piece.node, 0) + piece.nanos
    made = []
    for node in sorted({*days, *outside}):
        cluster, name = books.node_names.get(node, ("", ""))
        own = days.get(node, [])
        made.append(
            NodeDifference(
                cluster=cluster,
                node=name,
                days=len({day.day_ms for day in own}),
                provider_nanos=sum(day.provider_nanos for day in own),
                pool_nanos=sum(day.pool_nanos for day in own),
                not_in_cluster_nanos=outside.get(node, 0),
            )
        )
    return tuple(
        sorted(
            made,
            key=lambda one: (
                -abs(one.true_up_nanos) - abs(one.not_in_cluster_nanos),
                one.cluster,
                one.node,
            ),
        )
    )
