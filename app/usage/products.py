"""GPU model names: one canonical text a model, whatever a label or exporter appends."""

import re

# A pool whose node carries no product label and whose exporter names no model.
UNKNOWN_MODEL = "unknown"

# GPU Feature Discovery appends the sharing mode to the product: `-SHARED` under time-slicing and
# MPS, `-MIG-1g.5gb` under the single MIG strategy, or both. The silicon and its price are the same.
_SUFFIX = re.compile(r"-(?:SHARED|MIG-[0-9a-z.+]+)$", re.IGNORECASE)
_SPACES = re.compile(r"\s+")


def canonical_model(text: str) -> str:
    """Return the product without sharing suffixes, spaces as ``-``; ``""`` stays ``""``."""
    model = _SPACES.sub("-", text.strip())
    while (shorter := _SUFFIX.sub("", model)) != model:
        model = shorter
    return model
