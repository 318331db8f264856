"""Asking the served API for the month's costs, as a dashboard does."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil

import requests
from sqlalchemy.engine import URL

from app.store.engine import engine_of
from app.store.keys import KeyStore
from app.units.window import Window
from app.web.auth import new_secret, secret_sha256
from app.web.reading import Scope
from benchmarks.measuring import BenchmarkError, Stopwatch
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
    """Let ``gpuledger serve`` serve the ledger; yields its address."""
    port = free_port()
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("GPULEDGER_")
    }
    environment["GPULEDGER_DATABASE_URL"] = url.render_as_string(hide_password=False)
    process = subprocess.Popen(  # noqa: S603 our own command, without a shell
        [sys.executable, "-m", "app", "serve", "--port", str(port)], env=environment
    )
    address = f"http://{LOOPBACK}:{port}"
    try:
        wait_until(
            lambda: process.poll() is not None or answers(f"{address}/readyz"),
            timeout_seconds=_START_SECONDS,
            what="the API becoming ready",
        )
        if process.poll() is not None:
            message = "The API did not start."
            raise BenchmarkError(message, hint="Its own message stands above.")
        yield address
    finally:
        process.terminate()
        process.wait()


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
