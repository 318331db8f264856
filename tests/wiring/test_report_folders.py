"""Which definitions count, where their reports go, and what finance is told of a mistake."""

from datetime import UTC, datetime
from pathlib import Path

import fsspec
import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import URL

from app.chargeback.definition_keys import ReportDefinitionError
from app.chargeback.reports import ReportFormat
from app.delivery.destinations import DestinationAddressError
from app.settings import Settings, SettingsError
from app.wiring import Ledger
from app.wiring.reporting import ReportDesk, ReportFolders, target_of
from tests.chargeback.reporting import TEXT, a_definition
from tests.house import ROOT
from tests.store.builders import CLUSTER
from tests.workflows.stored import collect, prices, span

MONDAY_AT_SIX = datetime(2026, 11, 30, 6, tzinfo=UTC)
SHIPPED = {
    "budget",
    "cost_per_inference",
    "monthly_chargeback",
    "reconciliation",
    "waste",
    "weekly_chargeback",
}


def settings(own: Path | None, **more: object) -> Settings:
    return Settings.model_validate({"reports_dir": ROOT / "reports", "reports_folder": own, **more})


def test_those_that_ship_and_ones_own_stand_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "by_team.toml").write_text(TEXT, encoding="utf-8")

    names = [one.name for one in ReportFolders(settings(tmp_path)).all()]

    assert set(names) == SHIPPED | {"by_team"}
    assert names == sorted(names)


def test_a_name_that_ships_already_is_refused_with_both_files(tmp_path: Path) -> None:
    (tmp_path / "waste.toml").write_text(TEXT, encoding="utf-8")

    with pytest.raises(
        ReportDefinitionError, match="Two report definitions are called waste"
    ) as at:
        ReportFolders(settings(tmp_path)).names()

    assert str(tmp_path / "waste.toml") in at.value.message
    assert "reports_dir" in at.value.hint


def test_the_same_folder_twice_is_no_clash() -> None:
    assert set(ReportFolders(settings(ROOT / "reports")).names()) == SHIPPED


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no folder"):
        ReportFolders(settings(tmp_path / "nowhere")).names()


def test_a_broken_definition_is_one_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("title = ", encoding="utf-8")

    with pytest.raises(ReportDefinitionError, match="The report mine is not valid TOML"):
        ReportFolders(settings(tmp_path)).all()


def test_a_broken_definition_keeps_no_other_report_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "mine.toml").write_text("title = ", encoding="utf-8")

    usable = {one.name for one in ReportFolders(settings(tmp_path)).usable()}

    assert usable == SHIPPED
    assert "mine" in caplog.text


def test_a_destination_that_is_not_configured_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(f'destination = "erp"\n{TEXT}', encoding="utf-8")
    folders = ReportFolders(settings(tmp_path, destinations={"finance": {"url": "s3://f"}}))

    with pytest.raises(ReportDefinitionError, match=r"destination is 'erp'.* it has finance"):
        folders.named("mine")


def test_a_run_goes_to_the_destination_of_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINANCE_SECRET", "hunter2")
    given = settings(
        None,
        destinations={
            "finance": {
                "url": "s3://reports/gpu",
                "options": {"key": "AK", "client_kwargs": {"region_name": "eu-central-1"}},
                "options_env": {"secret": "FINANCE_SECRET"},
                "timeout_seconds": 5,
            }
        },
    )
    definition = a_definition(f'destination = "finance"\n{TEXT}')

    target = target_of(given, definition)

    assert target.formats == definition.formats
    assert target.destination.url == "s3://reports/gpu"
    assert target.destination.timeout_seconds == 5
    assert target.destination.options == {
        "key": "AK",
        "client_kwargs": {"region_name": "eu-central-1"},
        "secret": "hunter2",
    }


def test_a_secret_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FINANCE_SECRET", raising=False)
    finance = {"url": "s3://reports", "options_env": {"secret": "FINANCE_SECRET"}}

    with pytest.raises(SettingsError, match="FINANCE_SECRET is not set"):
        target_of(settings(None, destinations={"finance": finance}), a_definition(), to="finance")


@pytest.mark.parametrize(
    ("path", "form"),
    [("week.xlsx", ReportFormat.XLSX), ("week.PARQUET", ReportFormat.PARQUET), ("week", "csv")],
)
def test_the_ending_of_a_file_says_its_format(path: str, form: ReportFormat) -> None:
    target = target_of(settings(None), a_definition(), path=Path("out") / path)

    assert (target.formats, target.file_name) == ((form,), path)
    assert target.destination.url == "out"


@pytest.mark.parametrize("name", ["week.docx", "week.csv.gz", "2026.W46"])
def test_an_ending_that_is_no_format_needs_a_format(name: str) -> None:
    with pytest.raises(SettingsError, match="does not say which format") as caught:
        target_of(settings(None), a_definition(), path=Path(name))

    given = target_of(settings(None), a_definition(), formats=(ReportFormat.CSV,), path=Path(name))
    assert "csv, xlsx, parquet" in caught.value.hint
    assert (given.formats, given.file_name) == ((ReportFormat.CSV,), name)


def test_an_address_is_a_destination_and_any_other_word_is_none() -> None:
    assert target_of(settings(None), a_definition(), to="gs://b/p").destination.url == "gs://b/p"
    with pytest.raises(SettingsError, match="no destination 'finance'"):
        target_of(settings(None), a_definition(), to="finance")
    with pytest.raises(DestinationAddressError, match="protocol 'ftp'"):
        target_of(settings(None), a_definition(), to="ftp://host/path")


@pytest.mark.parametrize(
    ("destination", "said"),
    [
        ({"url": "ftp://host"}, "protocol 'ftp'"),
        ({"url": "s3://"}, "names no bucket"),
        ({"url": "s3://b", "options": {"secret": "x"}}, "name its environment variable"),
        (
            {"url": "s3://b", "options": {"client_kwargs": {"aws_secret_access_key": "x"}}},
            "name its environment variable",
        ),
        ({"url": "az://b", "options": {"connection_string": "x"}}, "name its environment variable"),
        ({"url": "s3://b", "timeout_seconds": 0}, "greater than 0"),
        ({"url": "s3://b", "color": "red"}, "not permitted"),
    ],
)
def test_a_destination_that_cannot_work_is_refused_with_the_settings(
    destination: dict[str, object], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        settings(None, destinations={"finance": destination})


def test_the_next_date_is_that_of_the_schedule() -> None:
    desk = ReportDesk(settings(None), lambda: MONDAY_AT_SIX)

    assert desk.next_due(desk.folders.named("weekly_chargeback")) == datetime(
        2026, 12, 7, 6, tzinfo=UTC
    )
    assert desk.next_due(desk.folders.named("monthly_chargeback")) == datetime(
        2026, 12, 3, 6, tzinfo=UTC
    )
    assert desk.next_due(a_definition()) is None


def test_the_worker_sends_what_is_due_to_its_destination(
    database: Engine, database_url: URL, tmp_path: Path
) -> None:
    collect(database, hours=2)
    prices(database)
    (tmp_path / "mine.toml").write_text(
        f'destination = "finance"\n{TEXT}[schedule]\nweekday = "monday"\ntime = "06:00"\n',
        encoding="utf-8",
    )
    given = Settings.model_validate(
        {
            "reports_dir": tmp_path,
            "report_out": tmp_path / "out",
            "destinations": {"finance": {"url": "memory://finance/2026"}},
        }
    )
    ledger = Ledger(given, database_url, database, lambda: MONDAY_AT_SIX)
    ledger.rate(CLUSTER, span(2))

    (published,) = ledger.publish_due(MONDAY_AT_SIX)

    sent = fsspec.filesystem("memory")
    assert [file.address for file in published.files] == [
        f"memory://finance/2026/mine-2026-W48-1.{form}" for form in ("csv", "xlsx", "parquet")
    ]
    for file in published.files:
        assert sent.cat_file(file.address.removeprefix("memory:/")) == file.content
    assert ledger.publish_due(MONDAY_AT_SIX) == ()
    assert not (tmp_path / "out").exists()
