"""The team contract as it is in force and as it was, and lines that its policies made."""

from dataclasses import fields

from sqlalchemy import Connection

from app.attribution.contract import Contract
from app.attribution.explanation import Explanation
from app.attribution.redistribution_explanation import WeighedFacts, explain_weighed
from app.errors import InputError
from app.store.contracts import ContractStore, StoredContract
from app.store.weighed_lines import WeighedLineStore
from app.workflows.rating import contract_of


class ContractVersionError(InputError):
    """A version of the contract that was never applied."""


def contract_in_force(connection: Connection) -> Contract:
    """Return the latest contract, an empty one before the first."""
    stored = ContractStore(connection).latest()
    return contract_of(stored) if stored else Contract()


def stored_contract(connection: Connection, version: int | None) -> StoredContract:
    """Return the contract of a version, by default the latest; refuse one that is not there."""
    store = ContractStore(connection)
    found = store.latest() if version is None else store.by_version(version)
    if found is None:
        wanted = "No contract was applied" if version is None else f"There is no version {version}"
        message = f"{wanted}."
        raise ContractVersionError(message, hint="gpuledger contract apply FILE applies one.")
    return found


def weighed_explanation(
    connection: Connection, charge_id: int, currency: str
) -> tuple[str, Explanation] | None:
    """Return the team of a line of step 1 or 2 and why it is what it is, None if it is none."""
    line = WeighedLineStore(connection).line(charge_id)
    if line is None:
        return None
    stored = ContractStore(connection).by_version(line.contract_version)
    contract = contract_of(stored) if stored else Contract()
    told = {one.name: getattr(line, one.name) for one in fields(line)}
    facts = WeighedFacts(
        **told,
        currency=currency,
        policies=contract.policies_at(line.day.start_ms, line.cluster),
    )
    return line.team, explain_weighed(facts)
