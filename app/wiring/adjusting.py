"""Adjusting closed billing periods with what the settings say."""

import logging
from datetime import datetime

from sqlalchemy import Engine

from app.errors import GpuledgerError
from app.settings import Settings
from app.units.window import to_ms
from app.wiring.clients import model_entries
from app.workflows.adjusting import adjust_period, periods_to_adjust
from app.workflows.postings import Adjusted, Adjusting

log = logging.getLogger(__name__)


def adjusting_of(
    engine: Engine, settings: Settings, at: datetime, *, dry_run: bool = False
) -> Adjusting:
    """Return what a run at an instant works with."""
    return Adjusting(
        engine=engine,
        billing_zone=settings.zone,
        at_ms=to_ms(at),
        models=model_entries(settings.models),
        dry_run=dry_run,
    )


def adjust_due(engine: Engine, settings: Settings, at: datetime) -> tuple[Adjusted, ...]:
    """Post what late facts change in closed periods; one that fails is logged and stays due."""
    done: list[Adjusted] = []
    for name in periods_to_adjust(engine, settings.zone):
        try:
            done.append(adjust_period(name, adjusting_of(engine, settings, at)))
        except GpuledgerError as error:
            log.error("%s was not adjusted: %s", name, error)  # noqa: TRY400 - a foreseen failure needs no traceback
    return tuple(done)
