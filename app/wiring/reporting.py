"""Reports of the ledger: whose definitions count, where they go, and what is due."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from app.chargeback.definition_keys import ReportDefinitionError
from app.chargeback.due import next_due
from app.chargeback.reports import ReportDefinition, ReportFormat, parse_report
from app.delivery.destination_settings import DestinationSettings
from app.delivery.destinations import Destination
from app.errors import GpuledgerError
from app.settings import Settings, SettingsError, secret
from app.wiring.clients import objectives_of
from app.workflows.publishing import ReportTarget
from app.workflows.report_sources import ReportTerms

log = logging.getLogger(__name__)

_APP = Path(__file__).resolve().parents[1]


class ReportFolders:
    """The definitions that count: those that ship, or those in their place, and one's own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def names(self) -> tuple[str, ...]:
        """Return the names of all definitions, in order."""
        return tuple(sorted(self._files()))

    def all(self) -> tuple[ReportDefinition, ...]:
        """Return every definition, by name; refuse the first that cannot be used."""
        return tuple(self.named(name) for name in self.names())

    def usable(self) -> Iterator[ReportDefinition]:
        """Yield every definition that can be used; the others are logged."""
        for name in self.names():
            try:
                yield self.named(name)
            except GpuledgerError as error:
                log.error("The report %s is left out: %s", name, error)  # noqa: TRY400 - a foreseen failure needs no traceback

    def named(self, name: str) -> ReportDefinition:
        """Return one definition; refuse a name without a file."""
        files = self._files()
        path = files.get(name, self._shipped() / f"{name}.toml")
        try:
            definition = parse_report(name, path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            known = ", ".join(sorted(files)) or "none"
            message = f"There is no readable report definition {path}."
            raise SettingsError(message, hint=f"Definitions: {known}.") from error
        if definition.destination and definition.destination not in self._settings.destinations:
            known = ", ".join(sorted(self._settings.destinations)) or "none"
            message = (
                f"The report {name}: the key destination is {definition.destination!r},"
                f" which gpuledger.toml does not have; it has {known}."
            )
            raise ReportDefinitionError(message, hint=f"Mend {path}, or add the destination.")
        return definition

    def _files(self) -> dict[str, Path]:
        """Return the file of every definition by its name; refuse a name that two have."""
        shipped = {path.stem: path for path in self._shipped().glob("*.toml")}
        own = self._settings.reports_folder
        if own is None:
            return shipped
        if not own.is_dir():
            message = f"There is no folder {own} of report definitions."
            raise SettingsError(message, hint="Correct reports_folder, or leave it out.")
        mine = {path.stem: path for path in own.glob("*.toml")}
        for name in sorted(set(mine) & set(shipped)):
            if mine[name].resolve() != shipped[name].resolve():
                message = (
                    f"Two report definitions are called {name}: {mine[name]}, {shipped[name]}."
                )
                hint = "Rename yours. To replace those that ship, set reports_dir to your folder."
                raise ReportDefinitionError(message, hint=hint)
        return shipped | mine

    def _shipped(self) -> Path:
        """Return the folder of definitions: where none is set, ./reports or those that come along.

        Refuses a folder that is set and not there: its reports would silently never be due.
        """
        folder = self._settings.reports_dir
        if folder.is_dir():
            return folder
        if "reports_dir" in self._settings.model_fields_set:
            message = f"There is no folder {folder} of report definitions."
            raise SettingsError(message, hint="Correct reports_dir, or leave it out.")
        packaged = _APP / "_reports"
        return packaged if packaged.is_dir() else _APP.parent / "reports"


@dataclass(frozen=True, slots=True)
class ReportDesk:
    """What reading reports needs of the settings."""

    settings: Settings
    now: Callable[[], datetime]

    @property
    def folders(self) -> ReportFolders:
        """The definitions that count."""
        return ReportFolders(self.settings)

    @property
    def terms(self) -> ReportTerms:
        """What all reports share."""
        return ReportTerms(
            zone=self.settings.zone,
            currency=self.settings.currency,
            objectives=objectives_of(self.settings),
        )

    def next_due(self, definition: ReportDefinition) -> datetime | None:
        """Return when a report's next period is due by its schedule; None without a schedule."""
        if definition.schedule is None:
            return None
        return next_due(definition.schedule, definition.grain, self.settings.zone, self.now())


def target_of(
    settings: Settings,
    definition: ReportDefinition,
    *,
    formats: tuple[ReportFormat, ...] = (),
    path: Path | None = None,
    to: str = "",
) -> ReportTarget:
    """Return where a run writes: to ``path``, to the destination ``to``, else as defined.

    ``to`` is the name of a destination or an address. Without ``formats`` a path is written in the
    format of its ending (one that is no format is refused), all others in those of the definition.
    """
    if path is not None:
        destination = Destination(url=str(path.parent))
        return ReportTarget(
            destination=destination,
            formats=formats or (_format_of(path, definition),),
            file_name=path.name,
        )
    named = to or definition.destination
    destination = _destination(settings, named)
    return ReportTarget(destination=destination, formats=formats or definition.formats)


def _format_of(path: Path, definition: ReportDefinition) -> ReportFormat:
    ending = path.suffix.removeprefix(".").lower()
    if not ending:
        return definition.formats[0]
    if ending not in tuple(ReportFormat):
        message = f"The ending of {path.name} does not say which format the file is to have."
        known = ", ".join(ReportFormat)
        raise SettingsError(message, hint=f"End it in one of {known}, or give the format.")
    return ReportFormat(ending)


def _destination(settings: Settings, named: str) -> Destination:
    if not named:
        return Destination(url=str(settings.report_out))
    given = settings.destinations.get(named)
    if given is not None:
        return _opened(given)
    if "://" in named:
        return Destination(url=named)
    known = ", ".join(sorted(settings.destinations)) or "none"
    message = f"There is no destination {named!r}."
    hint = f"Configured: {known}. An address such as s3://bucket/path can be given as well."
    raise SettingsError(message, hint=hint)


def _opened(given: DestinationSettings) -> Destination:
    secrets = {name: secret(variable) for name, variable in given.options_env.items()}
    return Destination(
        url=given.url,
        options={**given.options, **secrets},
        timeout_seconds=given.timeout_seconds,
    )
