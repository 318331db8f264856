"""64-bit identities made from natural keys: the same key gives the same number everywhere."""

import hashlib
import re

import numpy as np
import numpy.typing as npt

from app.errors import InputError

_MASK = 0xFFFFFFFFFFFFFFFF
_ID_TEXT = re.compile(r"[0-9a-f]{16}", re.ASCII)
# Constants of the splitmix64 generator (Steele, Lea, Flood, OOPSLA 2014).
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def hash64(*parts: str) -> int:
    """Return a signed 64-bit identity of the parts; ``("a", "bc")`` and ``("ab", "c")`` differ.

    0 is never returned: it stands for "none" in the ledger's tables.
    """
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(4, "big"))
        digest.update(data)
    return int.from_bytes(digest.digest(), "big", signed=True) or 1


def mix64(*columns: npt.NDArray[np.int64] | int) -> npt.NDArray[np.int64]:
    """Return one signed 64-bit identity a row from integer columns (at least one an array).

    A chain of splitmix64 finalizers: order of the columns matters, equal rows give equal values.
    """
    state = np.zeros(1, dtype=np.uint64)
    for column in columns:
        if isinstance(column, int):
            bits = np.array([column & _MASK], dtype=np.uint64)
        else:
            bits = column.astype(np.int64, copy=False).view(np.uint64)
        state = (state ^ bits) + _GAMMA
        state = (state ^ (state >> np.uint64(30))) * _MIX_1
        state = (state ^ (state >> np.uint64(27))) * _MIX_2
        state = state ^ (state >> np.uint64(31))
    return state.view(np.int64)


def id_text(number: int) -> str:
    """Return an identity as people see and type it: 16 hexadecimal digits, never a minus sign."""
    return f"{number & _MASK:016x}"


def id_of_text(text: str) -> int:
    """Return the identity that `id_text` shows as ``text``."""
    if not _ID_TEXT.fullmatch(text):
        message = f"{text!r} is not an id."
        raise InputError(message, hint="An id is 16 hexadecimal digits, as lists print it.")
    bits = int(text, 16)
    return bits - (1 << 64) if bits >> 63 else bits
