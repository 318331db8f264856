"""What a pod effectively requests: init containers and sidecars included."""

from app.usage.inventory import ContainerFacts


def effective_request(containers: tuple[ContainerFacts, ...]) -> tuple[tuple[str, int], ...]:
    """Return the units of each extended resource the scheduler sets aside for a pod's whole life.

    That is the larger of all app containers plus all sidecars, and of any init container plus the
    sidecars declared before it (they run already while it does): k8s.io/component-helpers
    resource/helpers.go. Containers must stand in the order in which the pod declares them.
    Resources come in the order of their names; those of 0 units are left out.
    """
    names = sorted({name for container in containers for name, _ in container.requests})
    amounts = ((name, _effective_units(containers, name)) for name in names)
    return tuple((name, units) for name, units in amounts if units > 0)


def _effective_units(containers: tuple[ContainerFacts, ...], resource: str) -> int:
    running = 0
    sidecars = 0
    peak = 0
    for container in containers:
        units = sum(amount for name, amount in container.requests if name == resource)
        if container.kind == "init":
            peak = max(peak, units + sidecars)
        elif container.kind == "sidecar":
            sidecars += units
        else:
            running += units
    return max(running + sidecars, peak)
