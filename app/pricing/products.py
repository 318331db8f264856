"""How a price book's GPU model names find the models that nodes report."""

import re

# Words that name the maker or a brand line and are left out by half of those who write a model
# down: "Tesla T4" and "T4", "AMD Instinct MI300X" and "MI300X", "GeForce RTX 4090" and "RTX 4090".
# "Quadro" stays: a Quadro RTX 6000 is another product than an RTX 6000 Ada.
_VENDOR_WORDS = frozenset({"nvidia", "tesla", "amd", "instinct", "geforce", "intel"})
_SEPARATORS = re.compile(r"[\s_\-/()®™]+")


def product_tokens(model: str) -> tuple[str, ...]:
    """Return the words of a model's name that tell products apart, in lower case.

    Empty for a name that says no more than its maker.
    """
    words = _SEPARATORS.split(model.casefold())
    return tuple(word for word in words if word and word not in _VENDOR_WORDS)


def names_product(book: tuple[str, ...], reported: tuple[str, ...]) -> bool:
    """Say whether the book's words are the leading words of the reported model.

    "H100" names "NVIDIA-H100-80GB-HBM3"; "H100 NVL" does not, and "A10" does not name an A10G.
    """
    return reported[: len(book)] == book
