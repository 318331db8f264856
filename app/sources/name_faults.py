"""Names that people write into files: what keeps one from ever naming anything."""

import unicodedata

# Names stand together in keys of the database, which hold 2,704 bytes; Kubernetes allows 253.
MAX_NAME_BYTES = 253


def name_fault(text: str) -> str:
    """Return what is wrong with a name, as "is longer than 253 bytes"; '' for a usable one.

    A character that no screen shows (Unicode's category Cf: zero-width spaces, direction marks)
    comes along when a name is copied, and makes one that fits nothing for no visible reason.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        return f"is longer than {MAX_NAME_BYTES} bytes"
    for character in text:
        if unicodedata.category(character) == "Cf":
            return f"has a character that cannot be seen (U+{ord(character):04X})"
    return ""
