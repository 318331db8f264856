"""Whole collections of the Kubernetes API, page by page, and the changes after them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from app.sources.kubernetes_access import (
    ApiCall,
    KubernetesAccess,
    KubernetesAnswerBroken,
    KubernetesRefused,
    WatchExpired,
)
from app.sources.kubernetes_json import Json
from app.sources.kubernetes_objects import resource_version_of
from app.usage.claims_facts import ClaimFacts, SliceFacts
from app.usage.inventory import NodeFacts, PodFacts

T = TypeVar("T")

# A list that expires while its pages are read is begun again so often.
_LIST_ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchEvent:
    """A change of one object; a bookmark has none and only moves the resource version."""

    type: str
    resource_version: str
    pod: PodFacts | None = None
    node: NodeFacts | None = None
    claim: ClaimFacts | None = None
    slice: SliceFacts | None = None

    @property
    def is_bookmark(self) -> bool:
        """Whether nothing changed."""
        return self.type == "BOOKMARK"

    @property
    def is_deletion(self) -> bool:
        """Whether the object is gone."""
        return self.type == "DELETED"


def list_all(
    access: KubernetesAccess, call: ApiCall, parse: Callable[[Json], T | None]
) -> tuple[tuple[T, ...], str]:
    """Read all pages, and begin again where the list expired meanwhile.

    Returns what ``parse`` makes of the objects, without None, and the version to watch from.
    """
    for _ in range(_LIST_ATTEMPTS):
        try:
            return _pages(access, call, parse)
        except WatchExpired:
            continue
    message = f"{access.place} let a list expire {_LIST_ATTEMPTS} times as it was read."
    raise KubernetesRefused(message, hint="The API server is overloaded or far away.")


def version_of(access: KubernetesAccess, call: ApiCall) -> str:
    """Read the shortest list there is; without a version of its own it is the latest."""
    return resource_version_of(access.read(call, limit=1))


def _pages(
    access: KubernetesAccess, call: ApiCall, parse: Callable[[Json], T | None]
) -> tuple[tuple[T, ...], str]:
    found: list[T] = []
    token: str | None = None
    while True:
        page = access.read(call, limit=access.settings.page_size, _continue=token)
        items = page.get("items") or []
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            message = f"A list of {access.place} has items that are no list of objects."
            raise KubernetesAnswerBroken(message, hint="Check that no proxy changes bodies.")
        found += [fact for item in items if (fact := parse(item)) is not None]
        metadata = page.get("metadata")
        token = str(metadata.get("continue") or "") if isinstance(metadata, Mapping) else ""
        if not token:
            return tuple(found), resource_version_of(page)
