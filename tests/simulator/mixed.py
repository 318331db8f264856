"""Simulated fleets that share their devices in every way there is, small enough to be walked."""

from app.simulator.fleet import Fleet
from app.simulator.modes import SHARED_MODES, Mode
from app.simulator.spec import FleetSpec
from tests.simulator.small import MONDAY_MS

BY_NODES = tuple(mode for mode in SHARED_MODES if not mode.by_claims)
BY_CLAIMS = tuple(mode for mode in SHARED_MODES if mode.by_claims)


def mixed_spec(
    *, seed: int = 3, modes: tuple[Mode, ...] = SHARED_MODES, minutes: int = 10, **options: object
) -> FleetSpec:
    """Return one whole node and one of each mode, on which pods come and go every few minutes."""
    return FleetSpec(
        seed=seed,
        start_ms=MONDAY_MS,
        hours=0,
        minutes=minutes,
        lead_ms=60_000,
        nodes=1,
        gpus_per_node=3,
        services=1,
        replicas=1,
        modes=modes,
        mode_pod_minutes=4,
        **options,
    )


def mixed_fleet(
    *, seed: int = 3, modes: tuple[Mode, ...] = SHARED_MODES, minutes: int = 10, **options: object
) -> Fleet:
    return Fleet.build(mixed_spec(seed=seed, modes=modes, minutes=minutes, **options))
