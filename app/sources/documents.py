"""JSON bodies of a metrics back end, also those whose texts are no proper text."""

import json
import re
from collections.abc import Mapping
from hashlib import blake2b
from urllib.parse import quote

import orjson

from app.sources.promql import Dialect

# Names of Kubernetes have at most 253 characters and those of models hardly more. Longer values
# are cut, since no index of a database takes texts of any length.
LONGEST_LABEL = 500
_KEPT = 480
_PLAIN_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
# NUL and halves of pairs can be written in JSON and stored nowhere.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class NotADocument(ValueError):  # noqa: N818 - it says what the body is
    """The body, or a series in it, is not what the API promises; the text says why."""


def read_document(body: bytes) -> Mapping[str, object]:
    """Parse a body. Bytes that are not UTF-8 become replacement characters."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if body.lstrip()[:1] == b"<":
            # A proxy in front asks for a login with status 200.
            message = "it is a web page, perhaps a login"
            raise NotADocument(message) from error
        document = _read_leniently(body, error)
    if not isinstance(document, dict):
        message = "it is no object"
        raise NotADocument(message)
    return document


def repair_labels(rows: list[object]) -> int:
    """Make the labels of series storable, in place, and return how many values are not as told.

    What cannot be stored becomes a replacement character. Of values that are too long the end
    becomes a hash, so that different ones stay different. Refuses rows that are no series.
    """
    repaired = 0
    for row in rows:
        labels = row.get("metric") if isinstance(row, dict) else None
        if not isinstance(labels, dict):
            message = "one of its results is no series"
            raise NotADocument(message)
        try:
            text = "".join(labels.values())
        except TypeError as error:
            message = "one of its labels is no text"
            raise NotADocument(message) from error
        short = len(text) <= LONGEST_LABEL or max(map(len, labels.values())) <= LONGEST_LABEL
        if not (short and text.isascii() and text.isprintable()):
            repaired += _repair(labels)
    return repaired


def label_in_path(label: str, dialect: Dialect) -> str:
    """Return a label's name for a path; other names than the plain ones are escaped.

    Prometheus takes ``U__`` before the name, each foreign character as its code in hexadecimal
    between underscores, and each underscore twice. VictoriaMetrics takes any name as it is.
    """
    if _PLAIN_LABEL.match(label) or dialect is Dialect.BACKSLASHED:
        return quote(label, safe="")
    escaped = "".join(
        "__" if sign == "_" else sign if sign.isalnum() and sign.isascii() else f"_{ord(sign):x}_"
        for sign in label
    )
    return quote(f"U__{escaped}")


def _read_leniently(body: bytes, error: orjson.JSONDecodeError) -> object:
    """Parse what is JSON but for its texts: not UTF-8, or with halves of surrogate pairs."""
    try:
        return json.loads(body.decode(errors="replace"))
    except ValueError:
        message = f"it is not JSON ({error})"
        raise NotADocument(message) from error


def _repair(labels: dict[str, str]) -> int:
    repaired = 0
    for name, value in labels.items():
        labels[name] = _storable(value)
        # A replacement character was put there on its way: what was told was not UTF-8.
        repaired += labels[name] != value or _REPLACEMENT in value
    return repaired


def _storable(value: str) -> str:
    clean = _UNSTORABLE.sub(_REPLACEMENT, value)
    if len(clean) <= LONGEST_LABEL:
        return clean
    digest = blake2b(clean.encode(), digest_size=6).hexdigest()
    return f"{clean[:_KEPT]}…{digest}"
