"""Take commitments, and report what they cover and what of them is left unused."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from hashlib import sha256

from sqlalchemy import Connection, Engine

from app.chargeback.commitments import CommitmentReport
from app.pricing.commitments import Commitment
from app.sources.commitment_file import read_commitments
from app.store.allotments import forget_cluster
from app.store.commitments import (
    AccountCluster,
    AccountStore,
    CommitmentStore,
    commitment_use,
)
from app.store.naming import NameStore
from app.store.periods import closed_before_ms
from app.store.price_versions import ImportNote
from app.store.windows import WindowStore
from app.units.window import Window
from app.usage.identity import cluster_id
from app.usage.models import ModelEntry
from app.workflows.imports import Imported, import_taken
from app.workflows.price_files import CorrectionError, TakenFile


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentFile:
    """A file of commitments, when and why it is imported, and by whom."""

    text: str
    file_name: str
    currency: str
    at_ms: int
    reason: str = ""
    author: str = ""


def import_commitments(
    file: CommitmentFile,
    *,
    engine: Engine,
    billing_zone: tzinfo,
    dry_run: bool,
    models: Sequence[ModelEntry] = (),
    progress: Callable[[int], None] = lambda _hours: None,
) -> Imported:
    """Add the commitments of a file, all of them or nothing; two imports wait for each other.

    One with the id and the start of a stored one supersedes it, for which a reason and an author
    have to be given unless it is a dry run.
    """
    commitments = read_commitments(
        file.text, filename=file.file_name, billing_currency=file.currency
    )
    note = ImportNote(
        imported_ms=file.at_ms,
        file_name=file.file_name,
        sha256=sha256(file.text.encode()).hexdigest(),
        reason=file.reason,
        author=file.author,
    )

    def take(connection: Connection) -> TakenFile:
        done = CommitmentStore(connection).take(commitments, note)
        if done.superseded and not dry_run and not (note.reason.strip() and note.author.strip()):
            raise CorrectionError(len(done.superseded))
        return TakenFile(
            version=done.version,
            added=len(done.added),
            superseded=len(done.superseded),
            unchanged=done.unchanged,
            spans=done.spans,
            warnings=_warnings(connection, done.added),
        )

    return import_taken(
        take,
        engine=engine,
        billing_zone=billing_zone,
        dry_run=dry_run,
        models=models,
        progress=progress,
    )


def commitment_report(connection: Connection, window: Window) -> tuple[CommitmentReport, ...]:
    """Return what each commitment covered in the allotted hours of the window, by its id.

    Hours that wait for a cluster are not part of it.
    """
    used = commitment_use(connection, window)
    known = CommitmentStore(connection).by_price_ids(one.price_id for one in used)
    found = [CommitmentReport(commitment=known[one.price_id], use=one) for one in used]
    return tuple(
        sorted(found, key=lambda one: (one.commitment.commitment, one.commitment.term_start_ms))
    )


def put_accounts(engine: Engine, accounts: Mapping[str, str]) -> None:
    """Keep which billing account pays for each configured cluster, in the order of the settings.

    Where that is another account or order than before, the hours of all terms wait for a rating.
    """
    with engine.begin() as connection:
        store = AccountStore(connection)
        before = store.clusters()
        if not store.put(accounts) or _in_words(before) == _in_words(store.clusters()):
            return
        accounts_before = dict(_in_words(before))
        open_ms = closed_before_ms(connection)
        for one in store.clusters():
            if accounts_before.get(one.cluster) != one.account:
                forget_cluster(connection, cluster_id(one.cluster), open_ms)
        for cluster in sorted(NameStore(connection).clusters().values()):
            for term in CommitmentStore(connection).rows():
                WindowStore(connection, cluster).mark(term.term_start_ms, term.term_end_ms)


def _in_words(clusters: Sequence[AccountCluster]) -> list[tuple[str, str]]:
    return [(one.cluster, one.account) for one in clusters]


def _warnings(connection: Connection, added: Sequence[Commitment]) -> tuple[str, ...]:
    """Say which accounts and clusters of commitments no configured or collected cluster is of."""
    clusters = AccountStore(connection).clusters()
    names, accounts = {one.cluster for one in clusters}, {one.account for one in clusters}
    unknown = sorted({name for one in added for name in one.clusters} - names)
    empty = sorted({one.billing_account for one in added} - accounts)
    return (
        *(f"no cluster {name!r} was ever collected" for name in unknown),
        *(f"no collected cluster belongs to the billing account {name!r}" for name in empty),
    )
