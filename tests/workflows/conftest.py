"""A watch of the API that a test's own `server` is, from the start of the usual hour on."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from app.simulator.clock import VirtualClock
from tests.usage.builders import T0
from tests.workflows.api_server import ApiServer
from tests.workflows.watching import Watching, watching


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(T0)


@pytest.fixture
def watch(server: ApiServer, clock: VirtualClock, database: Engine) -> Iterator[Watching]:
    with watching(server, clock, database) as running:
        yield running
