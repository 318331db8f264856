"""Price inputs over the database: one transaction a request."""

from collections.abc import Sequence
from hashlib import sha256
from zoneinfo import ZoneInfo

from app.pricing.rows import PriceRow
from app.store.findings import FindingStore
from app.store.price_versions import ImportNote, PriceVersion
from app.store.prices import PriceStore
from app.web.price_reading import PriceImportRequest
from app.web.problems import NotFoundError
from app.web.reading import IdempotencyConflictError
from app.wiring import Connection
from app.wiring.planning import PlanningTerms
from app.workflows.imports import Imported, imported_in
from app.workflows.price_files import PriceFile, take_file

# What an import by a request is called where a file has its name.
FILE_NAME = "request"


class StoredPrices:
    """See `app.web.price_reading.PriceLedger`."""

    __slots__ = ()
    connection: Connection
    zone: ZoneInfo
    currency: str
    planning: PlanningTerms

    def prices(self, version: int | None, *, card: bool) -> Sequence[PriceRow]:
        """Return the prices as of a version, of the last one for None."""
        store = PriceStore(self.connection)
        latest = store.version()
        if version is not None and version > latest:
            message = f"There is no version {version} of the prices; the last one is {latest}."
            raise NotFoundError(message, hint="GET /v1/prices/versions lists them.")
        inputs = store.inputs(version)
        book = inputs.card if card else inputs.book
        return book.rows if book else ()

    def price_versions(self) -> Sequence[PriceVersion]:
        """Return every version, the first one first."""
        return PriceStore(self.connection).versions()

    def import_prices(self, request: PriceImportRequest, *, idempotency_key: str) -> Imported:
        """Take a file once, however often the request with its key comes."""
        requests = FindingStore(self.connection)
        requests.lock()
        digest = sha256(request.text.encode()).hexdigest()
        asked = sha256(
            f"prices {request.kind} {request.dry_run} {request.reason!r} {digest}".encode()
        ).hexdigest()
        before = requests.carried_out(idempotency_key)
        if before not in {None, asked}:
            message = "This Idempotency-Key was used for another request."
            raise IdempotencyConflictError(message, hint="Use a key of its own for each import.")
        if before is not None:
            return self._repeated(digest)
        note = ImportNote(
            imported_ms=request.at_ms,
            file_name=FILE_NAME,
            sha256=digest,
            reason=request.reason,
            author=request.author,
        )
        done = self._taken(request, note)
        if not request.dry_run:
            requests.remember(idempotency_key, asked, at_ms=request.at_ms)
        return done

    def _taken(self, request: PriceImportRequest, note: ImportNote) -> Imported:
        file = PriceFile(
            kind=request.kind, text=request.text, file_name=FILE_NAME, currency=self.currency
        )
        with self.connection.begin_nested() as savepoint:
            done = imported_in(
                self.connection,
                lambda connection: take_file(
                    file, PriceStore(connection), note, dry_run=request.dry_run
                ),
                billing_zone=self.zone,
                dry_run=request.dry_run,
                models=self.planning.models,
            )
            if request.dry_run:
                savepoint.rollback()
        return done

    def _repeated(self, digest: str) -> Imported:
        """Return what the import of these bytes counted, as its version says."""
        store = PriceStore(self.connection)
        made = [one for one in store.versions() if one.sha256 == digest]
        last = made[-1] if made else None
        return Imported(
            version=last.version if last else store.version(),
            added=last.added if last else 0,
            superseded=last.superseded if last else 0,
            unchanged=0,
            hours=0,
            moved=(),
            dry_run=False,
        )
