"""Closing billing periods with what the settings say."""

import json
from hashlib import sha256
from importlib.resources import files

from app.settings import Settings
from app.wiring.clients import model_entries
from app.wiring.ledger import Ledger
from app.workflows.closing import BillingTerms, Closed, CloseOrder, close_period, preview

_CATALOGUE = files("app.sources.catalogue")


def billing_terms(settings: Settings) -> BillingTerms:
    """Return what closings pin of the settings: those that facts and charges depend on."""
    read = sorted(_CATALOGUE.iterdir(), key=lambda one: one.name)
    catalogue = [one.read_text(encoding="utf-8") for one in read if one.name.endswith(".toml")]
    own = [one.model_dump_json() for one in (*settings.engines, *settings.gateways)]
    devices = {one.name: one.devices for one in settings.clusters if one.devices}
    return BillingTerms(
        zone=settings.zone,
        currency=settings.currency,
        settings={
            "billing_zone": settings.billing_zone,
            "catalogue_sha256": _sha256(*catalogue, *own),
            "devices_sha256": _sha256(json.dumps(devices, sort_keys=True)),
            "models_sha256": _sha256(*map(repr, model_entries(settings.models))),
        },
    )


def close(ledger: Ledger, order: CloseOrder) -> Closed:
    """Close a period; see `app.workflows.closing.close_period`."""
    return close_period(order, billing_terms(ledger.settings), engine=ledger.engine)


def look(ledger: Ledger, order: CloseOrder) -> Closed:
    """Say what closing a period would come to; nothing is stored."""
    return preview(order, billing_terms(ledger.settings), engine=ledger.engine)


def _sha256(*texts: str) -> str:
    return sha256("\n".join(texts).encode()).hexdigest()
