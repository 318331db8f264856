"""Which groups of its API a cluster serves: discovery, open to whoever may ask anything."""

from collections.abc import Mapping

from kubernetes.client import ApisApi

from app.sources.kubernetes_access import KubernetesAccess
from app.sources.kubernetes_json import objects_of, text_of


def served_groups(access: KubernetesAccess) -> Mapping[str, tuple[str, ...]]:
    """Return the versions of every API group that is served, by its name."""
    document = access.read(ApisApi(access.client).get_api_versions)
    return {
        text_of(group, "name"): tuple(
            text_of(version, "version") for version in objects_of(group, "versions")
        )
        for group in objects_of(document, "groups")
    }
