"""Where files go: a folder or an object store, each file whole or not at all, within a time."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import fsspec
from fsspec.asyn import AsyncFileSystem
from fsspec.spec import AbstractFileSystem

from app.delivery.files import DestinationError, write_whole
from app.errors import InputError

log = logging.getLogger(__name__)

# The object stores that put a file under its name in one step, and what they need installed.
_EXTRAS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gcs",
    "gcs": "gcs",
    "az": "azure",
    "abfs": "azure",
    "abfss": "azure",
}
PROTOCOLS = ("file", *_EXTRAS, "memory")
# Larger than any report: the driver of S3 sends what is smaller in one request (5 GB at most).
_ONE_REQUEST_BYTES = 2**40

_Answer = TypeVar("_Answer")


class DestinationAddressError(InputError):
    """An address of no destination: of an unknown protocol, or without a bucket."""


class MissingDriverError(DestinationError):
    """A destination whose driver is not installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A folder, or a bucket with a path, and how to reach it.

    ``options`` are those of the driver (fsspec's storage options); they may hold secrets, so that
    they are in no message. The timeout is that of each request, sending a file being one.
    """

    url: str
    options: Mapping[str, object] = field(default_factory=dict, repr=False)
    timeout_seconds: float = 60.0

    def __post_init__(self) -> None:
        check_address(self.url)

    @property
    def protocol(self) -> str:
        """The protocol of the address; a path is a file."""
        return self.url.partition("://")[0] if "://" in self.url else "file"

    def address_of(self, name: str) -> str:
        """Return where the file ``name`` is in this destination."""
        if "://" in self.url:
            return f"{self.url.rstrip('/')}/{name}"
        return str(Path(self.url) / name)


def check_address(url: str) -> None:
    """Refuse an address that no file can be sent to."""
    if "://" not in url:
        if not url.strip():
            message = "A destination has no address."
            raise DestinationAddressError(message, hint=_HINT)
        return
    parts = urlsplit(url)
    if parts.scheme not in PROTOCOLS:
        message = f"No report can be sent by the protocol {parts.scheme!r}."
        raise DestinationAddressError(message, hint=_HINT)
    if parts.password or parts.query or parts.fragment:
        message = f"The address of a destination at {parts.hostname} has more than a path."
        raise DestinationAddressError(message, hint="Put options and secrets into gpuledger.toml.")
    if parts.scheme == "file":
        if parts.netloc or not parts.path.strip("/"):
            message = f"{url!r} is no folder."
            raise DestinationAddressError(message, hint="Write it as file:///srv/reports.")
    elif not parts.netloc:
        message = f"The address {url!r} names no bucket."
        raise DestinationAddressError(message, hint=_HINT)


_HINT = "Use a folder, or an address such as s3://bucket/path, gs://bucket/path, az://container."


def deliver(destination: Destination, name: str, content: bytes) -> str:
    """Write ``content`` under ``name``, whole or not at all, and return its address.

    In a folder the file appears by a rename; in an object store by one request, and its size is
    read back: a file of another size is removed. What stood under the name is replaced.
    """
    address = destination.address_of(name)
    if destination.protocol == "file":
        path = Path(address.removeprefix("file://"))
        write_whole(path, content)
        return address
    filesystem = _opened(destination)
    sending = {"chunksize": _ONE_REQUEST_BYTES} if _EXTRAS.get(destination.protocol) == "s3" else {}
    _ask(destination, address, filesystem, filesystem.pipe_file, content, **sending)
    try:
        found = _ask(destination, address, filesystem, filesystem.info)
    except _NotReadableError:
        # Whoever may only write gets a file whole as well: the store took it in one request.
        log.warning("The size of %s could not be read back: no right to read it.", address)
        return address
    if found.get("size") != len(content):
        _ask(destination, address, filesystem, filesystem.rm_file)
        message = f"{address} has {found.get('size')} bytes of {len(content)} that were sent."
        raise DestinationError(message, hint="Look at the store, and run the report again.")
    return address


class _NotReadableError(DestinationError):
    """The store refuses to be asked."""


def _opened(destination: Destination) -> AbstractFileSystem:
    protocol, options = destination.protocol, dict(destination.options)
    if _EXTRAS.get(protocol) == "s3":
        limits = {
            "connect_timeout": destination.timeout_seconds,
            "read_timeout": destination.timeout_seconds,
            # The driver tries again by itself.
            "retries": {"max_attempts": 0},
        }
        given = options.pop("config_kwargs", {})
        options["config_kwargs"] = {**limits, **(given if isinstance(given, dict) else {})}
    try:
        # Kept by nobody: another run may have other secrets.
        return fsspec.filesystem(
            protocol, skip_instance_cache=True, use_listings_cache=False, **options
        )
    except ImportError as error:
        extra = _EXTRAS.get(protocol, protocol)
        message = f"What sends files to {destination.url} is not installed: {error.name or error}."
        hint = f'Install it: pip install "gpuledger[{extra}]".'
        raise MissingDriverError(message, hint=hint) from error
    except (TypeError, ValueError) as error:
        message = f"The options of the destination {destination.url} do not fit its driver."
        raise DestinationError(message, hint=f"{type(error).__name__}: {error}"[:300]) from error


def _ask(
    destination: Destination,
    address: str,
    filesystem: AbstractFileSystem,
    question: Callable[..., _Answer],
    *arguments: object,
    **options: object,
) -> _Answer:
    """Call the driver once, within the time limit, and turn whatever it raises into one error."""
    if isinstance(filesystem, AsyncFileSystem):
        options["timeout"] = destination.timeout_seconds
    try:
        return question(address, *arguments, **options)
    except PermissionError as error:
        kind = _NotReadableError if not arguments else DestinationError
        message = f"{address} may not be written: {_first_line(error)}."
        raise kind(message, hint="Check the credentials and their rights to write.") from error
    except FileNotFoundError as error:
        message = f"{address} could not be written: there is no such bucket."
        raise DestinationError(message, hint="Make the bucket, or correct the address.") from error
    except TimeoutError as error:
        seconds = destination.timeout_seconds
        message = f"{address} could not be written within {seconds:g} seconds."
        raise DestinationError(message, hint="Try again, or raise timeout_seconds.") from error
    except Exception as error:
        # Every driver has errors of its own (botocore's, google's, azure's), and none of them may
        # end a worker: the report stays due.
        message = f"{address} could not be written: {_first_line(error)}."
        raise DestinationError(message, hint="Check the network and the store.") from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"{type(error).__name__}: {lines[0]}"[:300].rstrip(".")
