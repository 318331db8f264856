"""Free ports of the loopback interface, and waiting for what listens on them."""

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """Return a port that nothing listens on at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((LOOPBACK, 0))
        return int(listener.getsockname()[1])


def answers(url: str) -> bool:
    """Say whether ``url`` answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def wait_until(done: Callable[[], bool], *, timeout_seconds: float, what: str) -> None:
    """Poll ``done`` every 20 ms; fail with ``what`` once the time is over."""
    deadline = time.monotonic() + timeout_seconds
    while not done():
        if time.monotonic() > deadline:
            message = f"{what} did not happen within {timeout_seconds:g} seconds"
            raise AssertionError(message)
        time.sleep(0.02)
