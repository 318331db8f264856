"""What the figures were measured on: no names, no paths."""

import os
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("numpy", "pandas", "orjson", "psycopg", "SQLAlchemy", "fastapi", "uvicorn")


def machine(postgres: str, prometheus: str) -> Iterator[tuple[str, str]]:
    """Yield what there is, and how much or which version of it."""
    yield "Cores", f"{len(os.sched_getaffinity(0))} ({_first('/proc/cpuinfo', 'model name')})"
    kibibytes = int(_first("/proc/meminfo", "MemTotal").split()[0])
    yield "Memory", f"{kibibytes / 2**20:.1f} GiB"
    yield "System", platform.system()
    yield "Python", platform.python_version()
    yield "PostgreSQL", postgres
    yield "Prometheus", prometheus
    for package in _PACKAGES:
        yield package, version(package)


def load() -> str:
    """Say how busy the machine was in the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def _first(path: str, name: str) -> str:
    """Return the first value of a name in a file of the kernel's."""
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "unknown"
