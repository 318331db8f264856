from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from app.attribution.contract import Contract, Team
from app.store.contracts import ContractStore
from app.store.naming import NameStore
from app.usage.identity import team_id
from tests.store.builders import NOON_MS


def apply(store: ContractStore, text: str, zone: tzinfo = UTC, **cost_centers: str) -> int:
    contract = store.apply(
        text,
        applied_ms=NOON_MS,
        file_name="teams.yaml",
        sha256=text,
        contract=Contract(
            teams=tuple(Team(name=name, cost_center=one) for name, one in cost_centers.items())
        ),
        zone=zone,
    )
    return contract.version


def test_there_is_no_contract_at_first(ledger: Connection) -> None:
    assert ContractStore(ledger).latest() is None


def test_the_same_contract_again_makes_no_version(ledger: Connection) -> None:
    store = ContractStore(ledger)

    versions = [apply(store, text) for text in ("a", "a", "b", "b", "a")]

    assert versions == [1, 1, 2, 2, 3]


def test_the_same_text_in_another_zone_is_another_version(ledger: Connection) -> None:
    store = ContractStore(ledger)

    versions = [apply(store, "a"), apply(store, "a", ZoneInfo("Asia/Kolkata")), apply(store, "a")]

    assert versions == [1, 2, 3]
    zones = [one.zone for version in versions if (one := store.by_version(version))]
    assert zones == ["UTC", "Asia/Kolkata", "UTC"]


def test_every_version_stays_readable(ledger: Connection) -> None:
    store = ContractStore(ledger)
    apply(store, "a")
    apply(store, "b")

    first, latest = store.by_version(1), store.latest()

    assert first is not None
    assert latest is not None
    assert (first.text, latest.text, latest.version) == ("a", "b", 2)
    assert store.by_version(3) is None


def test_teams_get_the_cost_center_of_the_last_contract(ledger: Connection) -> None:
    store, names = ContractStore(ledger), NameStore(ledger)
    names.ensure_team_names(["search", "unowned"])
    apply(store, "a", search="CC-1", ml="")

    apply(store, "b", search="CC-2")
    names.ensure_team_names(["search"])

    centers = names.cost_centers()
    assert {team: centers[team_id(team)] for team in ("search", "ml", "unowned")} == {
        "search": "CC-2",
        "ml": "",
        "unowned": "",
    }
