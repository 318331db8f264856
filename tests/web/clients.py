"""A client of an application over a fake ledger."""

import functools

from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.web.application import create_app
from tests.web.fake_ledger import READ_KEY, FakeLedger, a_dependencies, a_ledger

SPAN = "start=2026-11-20T00:00:00Z&end=2026-11-23T00:00:00Z"


def a_client(
    ledger: FakeLedger | None = None, *, key: str | None = READ_KEY, ready: bool = True
) -> TestClient:
    app = _application()
    app.state.dependencies = a_dependencies(ledger or a_ledger(), ready=ready)
    client = TestClient(app, raise_server_exceptions=False)
    if key:
        client.headers["Authorization"] = f"Bearer {key}"
    return client


@functools.cache
def _application() -> FastAPI:
    # Built once: its dependencies are the last client's, and building takes longer than asking.
    return create_app(a_dependencies(a_ledger()))
