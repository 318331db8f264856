"""Random numbers of the simulator: one reproducible stream for every named thing."""

import uuid
import zlib

import numpy as np


def dice(seed: int, *names: str) -> np.random.Generator:
    """Return the stream that belongs to ``names``: what others draw does not move it."""
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])


def uid(seed: int, *names: str) -> str:
    """Return a UUID as Kubernetes gives them, made from ``names``."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{seed}/{'/'.join(names)}"))


def suffix(seed: int, *names: str, length: int = 5) -> str:
    """Return a name suffix of the letters that Kubernetes uses for generated names."""
    letters = "bcdfghjklmnpqrstvwxz2456789"
    draws = dice(seed, "suffix", *names).integers(0, len(letters), length)
    return "".join(letters[int(draw)] for draw in draws)
