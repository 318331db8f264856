"""Prometheus' history of a simulated fleet: made once, then kept beside the checkout."""

import hashlib
import shutil
from pathlib import Path

from app.simulator.accelerator_series import ACCELERATOR_FAMILIES
from app.simulator.exposition import Exposition
from app.simulator.fleet import Fleet
from app.simulator.openmetrics import write_openmetrics
from app.simulator.spec import FleetSpec
from benchmarks.measuring import Stopwatch, measured
from tests.real.prometheus import backfill

# What the collector reads of a watched cluster; history of other families would only cost time.
_DEVICE_FAMILIES = (
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE",
    "DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_PROF_SM_ACTIVE",
    "DCGM_FI_PROF_DRAM_ACTIVE",
    "DCGM_FI_DEV_FB_USED",
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
)
_UNREAD_PARTS = ("_count", "_sum")
# Raised when the simulator or the families change what a spec's history contains.
_VERSION = 1
_PROMTOOL_SECONDS = 1_200


def history_of(spec: FleetSpec, cache: Path) -> Path:
    """Return the folder with the blocks of a fleet's whole life, made if it is not there yet."""
    digest = hashlib.sha256(f"{_VERSION} {spec!r}".encode()).hexdigest()[:16]
    folder = cache / f"prometheus-{digest}"
    if not folder.exists():
        making = folder.with_suffix(".making")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        measured(_make, spec, making)
        making.rename(folder)
    return folder


def _make(stopwatch: Stopwatch, spec: FleetSpec, folder: Path) -> int:
    """Write the samples and load them; the text of 10,000 GPUs takes 4 GB for that minute."""
    exposition = Exposition(Fleet.build(spec))
    serving = [
        name
        for name in exposition.names()
        if name.startswith("vllm:") and not name.endswith(_UNREAD_PARTS)
    ]
    text = folder / "samples.om"
    others = [name for name in exposition.names() if name in ACCELERATOR_FAMILIES]
    families = (*_DEVICE_FAMILIES, *others, *serving, "process_start_time_seconds")
    with stopwatch:
        count = write_openmetrics(Fleet.build(spec), text, families, exposition=exposition)
        backfill(text, folder, timeout_seconds=_PROMTOOL_SECONDS)
    text.unlink()
    return count
