"""Files that are there whole or not at all."""

import os
import secrets
from pathlib import Path

from app.errors import GpuledgerError


class DestinationError(GpuledgerError):
    """A file could not be written; what stood at its place before still does."""


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, making its folder: readers see the old file or all of the new.

    A link is replaced, not followed.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("xb") as file:
                file.write(content)
                file.flush()
                # Without this a power cut can leave the new name with none of the content.
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        message = f"The file {path} could not be written: {error.strerror or error}."
        raise DestinationError(
            message, hint="Check the folder, its rights and the disk."
        ) from error
