"""The ledger's identities: one recipe a concept, 0 where there is none."""

from app.units.identity import hash64
from app.usage.inventory import Workload

# Begins the UID of a node that only kube-state-metrics showed, which exports none.
MADE_UP_UID = "ksm:"


def cluster_id(name: str) -> int:
    """Return the identity of the cluster that the configuration calls ``name``."""
    return hash64("cluster", name)


def node_id(cluster: str, uid: str) -> int:
    """Return the identity of a node; a node that was created again under its name is another."""
    return hash64("node", cluster, uid)


def gpu_model_id(model: str) -> int:
    """Return the identity of a canonical GPU model (`app.usage.products`); 0 for ``""``."""
    return hash64("gpu_model", model) if model else 0


def hold_id(cluster: str, pod_uid: str, resource: str, part_ms: int = 0) -> int:
    """Return the identity of what one pod, or claim, holds of one resource.

    A hold whose share changes goes on as a further part, which ``part_ms``, its start, tells apart.
    """
    part = (str(part_ms),) if part_ms else ()
    return hash64("hold", cluster, pod_uid, resource, *part)


def workload_id(cluster: str, workload: Workload) -> int:
    """Return the identity of a workload."""
    return hash64(
        "workload", cluster, workload.namespace, workload.kind, workload.name, workload.uid
    )


def namespace_id(name: str) -> int:
    """Return the identity of a namespace name, the same in every cluster; 0 for ``""``."""
    return hash64("namespace", name) if name else 0


def model_id(name: str) -> int:
    """Return the identity of a served model's name; 0 for ``""``."""
    return hash64("model", name) if name else 0


def team_id(name: str) -> int:
    """Return the identity of a team's name; 0 for ``""``."""
    return hash64("team", name) if name else 0
