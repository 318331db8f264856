"""Objects of the Kubernetes API as JSON: reading their fields, whatever a proxy made of them."""

from collections.abc import Mapping
from datetime import datetime
from typing import cast

from app.errors import GpuledgerError
from app.units.window import to_ms

# What JSON can say; an object of the API is a tree of these.
Json = Mapping[str, object]


class KubernetesError(GpuledgerError):
    """Any failure to learn something from the Kubernetes API."""


class KubernetesObjectBroken(KubernetesError):  # noqa: N818 - the failure is its name
    """An object of the API lacks what every object has, or holds a value that cannot be read."""


def object_of(item: Json, name: str) -> Json:
    """Return a field that is an object, an empty one for anything else."""
    value = item.get(name)
    return value if isinstance(value, dict) else {}


def objects_of(item: Json, name: str) -> list[Json]:
    """Return the objects in a field that is a list."""
    value = item.get(name)
    if not isinstance(value, list):
        return []
    return cast("list[Json]", [one for one in value if isinstance(one, dict)])


def text_of(item: Json, name: str) -> str:
    """Return a field that is text, "" for anything else."""
    value = item.get(name)
    return value if isinstance(value, str) else ""


def pairs_of(item: Json, name: str) -> tuple[tuple[str, str], ...]:
    """Return labels or annotations, ordered."""
    return tuple(sorted((key, str(value)) for key, value in object_of(item, name).items()))


def instant_of(item: Json, name: str) -> int | None:
    """Return an instant in milliseconds, None where there is none."""
    text = item.get(name)
    if not text:
        return None
    try:
        return to_ms(datetime.fromisoformat(str(text)))
    except ValueError as error:
        message = f"The {name} {text!r} of an object of Kubernetes is no instant."
        raise KubernetesObjectBroken(message) from error


def created_of(metadata: Json, what: str) -> int:
    """Return when an object was created, which every object tells."""
    created_ms = instant_of(metadata, "creationTimestamp")
    if created_ms is None:
        message = f"The {what} of the Kubernetes API has no creation time."
        raise KubernetesObjectBroken(message, hint="Check that no proxy changes the answers.")
    return created_ms
