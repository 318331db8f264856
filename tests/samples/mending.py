"""Texts that a Prometheus refuses as they stand, and what they are meant to be."""

import re
from collections.abc import Callable, Mapping

_QUOTED_LABEL = re.compile(r'"(\w+)"=')
_UNKNOWN_TYPE = re.compile(r"^# TYPE \S+ bucket\n", re.MULTILINE)


def _of_kong(text: str) -> str:
    """Leave out the types that are none, and quotes around the name of a label."""
    return _QUOTED_LABEL.sub(r"\1=", _UNKNOWN_TYPE.sub("", text))


def _of_virtual_gpus(text: str) -> str:
    """Put a device where the reporter left labels out, and leave out the remarks."""
    lines = [line.partition("  #")[0].strip() for line in text.splitlines() if "{" in line]
    return (
        "\n".join(line.replace("...", 'UUID="GPU-587",namespace="default"') for line in lines)
        + "\n"
    )


def _of_indented(text: str) -> str:
    """Take away the indentation of the page that the text is from."""
    return "\n".join(line.strip() for line in text.splitlines()) + "\n"


MENDERS: Mapping[str, Callable[[str], str]] = {
    "kong_ai_llm_docs": _of_kong,
    "dcgm_a100_mig_nvidia_docs": _of_indented,
    "dcgm_time_slicing_virtual_gpus_identical_values_issue587": _of_virtual_gpus,
}
