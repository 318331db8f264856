"""Asking the served API for the month's costs, as a dashboard does."""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil

import requests
from sqlalchemy.engine import URL

from app.cli.arguments import now
from app.cli.services import serve_ledger
from app.settings import Settings
from app.store.engine import engine_of
from app.store.keys import KeyStore
from app.units.window import Window
from app.web.auth import new_secret, secret_sha256
from app.web.reading import Scope
from app.wiring import Ledger
from benchmarks.measuring import Stopwatch
from tests.real.ports import LOOPBACK, answers, free_port, wait_until

_WARM_UP = 3
_START_SECONDS = 60.0
_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """How long each of some equal requests took, and the size of the answer."""

    seconds: tuple[float, ...]
    body_bytes: int
    rows: int
    complete: bool

    def quantile(self, share: float) -> float:
        """Return the time that this share of the requests did not exceed, by nearest rank."""
        return sorted(self.seconds)[ceil(share * len(self.seconds)) - 1]


def create_key(url: URL) -> str:
    """Return the secret of an API key that may read everything."""
    secret = new_secret()
    with engine_of(url).begin() as connection:
        KeyStore(connection).create(
            f"bench {secret_sha256(secret)[:8]}",
            secret_sha256(secret),
            scope=Scope.READ.value,
            team="",
            created_ms=0,
        )
    return secret


@contextmanager
def served_api(url: URL) -> Iterator[str]:
    """Serve the ledger from a process of its own, as the command does; yields its address."""
    port = free_port()
    process = multiprocessing.get_context("forkserver").Process(target=_serve, args=(url, port))
    process.start()
    address = f"http://{LOOPBACK}:{port}"
    try:
        wait_until(
            lambda: not process.is_alive() or answers(f"{address}/readyz"),
            timeout_seconds=_START_SECONDS,
            what="the API becoming ready",
        )
        yield address
    finally:
        process.terminate()
        process.join()


def ask(
    stopwatch: Stopwatch, address: str, secret: str, month: Window, group_by: str, count: int
) -> Served:
    """Ask for the month's costs again and again, over one connection."""
    session = requests.Session()
    session.trust_env = False
    session.headers["Authorization"] = f"Bearer {secret}"
    parameters = {
        "start": month.start.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "end": month.end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "group_by": group_by,
    }
    seconds: list[float] = []
    for number in range(_WARM_UP + count):
        with stopwatch:
            since = time.perf_counter()
            answer = session.get(f"{address}/v1/costs", params=parameters, timeout=_TIMEOUT_SECONDS)
            took = time.perf_counter() - since
        answer.raise_for_status()
        if number >= _WARM_UP:
            seconds.append(took)
    body = answer.json()
    return Served(
        seconds=tuple(seconds),
        body_bytes=len(answer.content),
        rows=len(body["rows"]),
        complete=body["complete"],
    )


def _serve(url: URL, port: int) -> None:
    ledger = Ledger(Settings(), url, engine_of(url), now)
    serve_ledger(ledger, host=LOOPBACK, port=port)
