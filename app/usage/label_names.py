"""Names of Kubernetes labels as kube-state-metrics writes them, which is not one to one."""

import re

_ODD = re.compile(r"[^a-zA-Z0-9_]")
_HUMP = re.compile(r"([a-z0-9])([A-Z])")


def mangled(name: str) -> str:
    """Return a label's name as kube-state-metrics writes it, without ``label_``."""
    return _HUMP.sub(r"\1_\2", _ODD.sub("_", name)).lower()
