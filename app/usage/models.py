"""Names of served models: published names are joined to one canonical name, or to none.

Engines, pods and gateways spell one model in several ways. A name is never guessed: it is joined
only if exactly one known model fits, and whatever fits none stands in a list of its own.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class MatchKind(StrEnum):
    """How a published name was joined to a served model, the surest way first."""

    EXACT = "exact"
    ALIAS = "alias"
    ADAPTER = "adapter"
    CASE = "case"
    VERSION = "version"
    PREFIX = "prefix"


@dataclass(frozen=True, slots=True)
class Match:
    """A served model, under the name that the caller knows it by, and how it was found."""

    name: str
    how: MatchKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """One served model: its canonical name, other names of it, and its LoRA adapters.

    An adapter is answered for by the model it was made for: engines count both together.
    """

    name: str
    aliases: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()


# What gateways and clients put before the name of a model on a server of one's own (docs of
# LiteLLM, "OpenAI-compatible endpoints" and the providers of self-hosted servers). A prefix that
# names somebody else's service, such as `bedrock/`, is none: that model runs elsewhere.
_PREFIXES = (
    "openai/",
    "hosted_vllm/",
    "vllm/",
    "text-completion-openai/",
    "custom_openai/",
    "openai_like/",
    "litellm_proxy/",
    "nvidia_nim/",
    "huggingface/",
    "ollama/",
    "ollama_chat/",
    "triton/",
    "llamafile/",
    "lm_studio/",
    "xinference/",
    "infinity/",
    "sglang/",
    "tgi/",
)
_VERSION_MARKS = (":", "@")


class ModelTable:
    """Joins published names to served models.

    ``entries`` are a person's, and win: an earlier one over a later one. ``seen`` are what pods
    say of themselves: an alias or adapter that two of these claim for different models is nobody's,
    and a name that a pod serves under is never another pod's alias.
    """

    def __init__(self, entries: Iterable[ModelEntry] = (), seen: Iterable[ModelEntry] = ()) -> None:
        self._told: dict[str, Match] = {}
        names: dict[str, None] = {}
        for entry in entries:
            names.setdefault(entry.name)
            for word, kind in _words(entry):
                self._told.setdefault(word, Match(entry.name, kind))
        for name in names:
            self._told.pop(name, None)
        self._add_seen(tuple(one for one in seen if one.name), names)
        self.names: tuple[str, ...] = tuple(name for name in names if name)
        self._spelled: dict[str, set[str]] = {}
        for word, model in (
            *((word, match.name) for word, match in self._told.items()),
            *((name, name) for name in self.names),
        ):
            self._spelled.setdefault(word.casefold(), set()).add(model)

    def canonical(self, name: str) -> str:
        """Return the model that a name is an alias or adapter of; any other name is its own."""
        match = self._told.get(name)
        return name if match is None else match.name

    def resolve(self, name: str, known: Collection[str]) -> Match | None:
        """Return the one of the ``known`` models that ``name`` means, None if none or several fit.

        The ways of `MatchKind` are tried in their order, and the first by which any model fits
        decides. Known names of one model (`canonical`) are one: returned is its canonical name if
        that is known, else the first of the known ones. Only one side is ever shortened: ``a:1``
        is ``a``, and it is not ``a:2``.
        """
        models: dict[str, list[str]] = {}
        for one in sorted({*known} - {""}):
            models.setdefault(self.canonical(one), []).append(one)
        if not name or not models:
            return None
        target = self.canonical(name)
        if target in models:
            alias = self._told.get(name, Match(target, MatchKind.ALIAS))
            how = MatchKind.EXACT if name in known else alias.how
            return Match(_shown(target, models[target]), how)
        for kind, of_name, of_known in _WAYS:
            fits = self._fitting(name, models, of_name, of_known)
            if fits:
                (first, *others) = sorted(fits)
                return None if others else Match(_shown(first, models[first]), kind)
        return None

    def _fitting(
        self,
        name: str,
        models: Mapping[str, Sequence[str]],
        of_name: "Shortening",
        of_known: "Shortening",
    ) -> set[str]:
        """Return the models one of whose names equals ``name``, one of the two shortened."""
        plain, shorter = name.casefold(), {one.casefold() for one in of_name(name)}
        fits = {model for one in shorter for model in self._spelled.get(one, ())} & set(models)
        for model, shown in models.items():
            for one in {*shown, model}:
                if one.casefold() in shorter or plain in {
                    part.casefold() for part in of_known(one)
                }:
                    fits.add(model)
        return fits

    def _add_seen(self, seen: Sequence[ModelEntry], names: dict[str, None]) -> None:
        served = {entry.name for entry in seen}
        claims: dict[str, set[Match]] = {}
        for entry in seen:
            model = self.canonical(entry.name)
            names.setdefault(model)
            for word, kind in _words(entry):
                if word not in served and word not in names and word not in self._told:
                    claims.setdefault(word, set()).add(Match(model, kind))
        for word, matches in sorted(claims.items()):
            if len({match.name for match in matches}) == 1:
                self._told[word] = min(matches, key=lambda match: match.how)


Shortening = Callable[[str], set[str]]


def _words(entry: ModelEntry) -> list[tuple[str, MatchKind]]:
    """Return the other names of an entry."""
    words = [(word, MatchKind.ALIAS) for word in entry.aliases]
    words += [(word, MatchKind.ADAPTER) for word in entry.adapters]
    return [(word, kind) for word, kind in words if word and word != entry.name]


def _shown(model: str, known: Sequence[str]) -> str:
    return model if model in known else known[0]


def _as_it_is(name: str) -> set[str]:
    return {name}


def _without_version(name: str) -> set[str]:
    """Return the name before its tag; a mark in a path before the last slash is none."""
    start = name.rfind("/") + 1
    cuts = [name.find(mark, start) for mark in _VERSION_MARKS]
    return {name[:cut] for cut in cuts if cut > start}


def _without_provider(name: str) -> set[str]:
    """Return the name without a gateway's prefix, and that without its tag."""
    prefix = next((one for one in _PREFIXES if name.casefold().startswith(one)), "")
    rest = name[len(prefix) :]
    return {rest, *_without_version(rest)} if prefix and rest else set()


def _without_path(name: str) -> set[str]:
    """Return the last part of a repository's or folder's name, and that without its tag."""
    last = name.rstrip("/").rpartition("/")[2]
    return {last, *_without_version(last)} if last and last != name else set()


_WAYS: tuple[tuple[MatchKind, Shortening, Shortening], ...] = (
    (MatchKind.CASE, _as_it_is, _as_it_is),
    (MatchKind.VERSION, _without_version, _without_version),
    (MatchKind.PREFIX, _without_provider, _without_path),
)
