"""What a pod's containers say of the model they serve: images, arguments, environment."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import orjson

from app.usage.serving_pods import ENGINE, LORA_ADAPTERS, SERVED_MODELS

# An object of the Kubernetes API, as JSON says it.
Json = Mapping[str, object]

# What an engine's image or command is known by. The first that fits wins: images of Triton and
# Dynamo have other engines inside, whose command says so.
_ENGINES = (
    ("tgi", ("text-generation-inference", "text-generation-launcher")),
    ("tei", ("text-embeddings-inference", "text-embeddings-router")),
    ("sglang", ("sglang",)),
    ("trtllm_serve", ("trtllm-serve",)),
    ("llamacpp", ("llama-server", "llama.cpp")),
    ("lmdeploy", ("lmdeploy",)),
    ("vllm", ("vllm",)),
    ("nim", ("nvcr.io/nim/",)),
    ("triton", ("tritonserver",)),
    ("ollama", ("ollama",)),
    ("infinity", ("infinity_emb", "michaelf34/infinity")),
)
# Flags that name what is served, before flags that say what is loaded.
_SERVED_FLAGS = ("--served-model-name", "--alias", "-a", "--model-name")
_LOADED_FLAGS = ("--model", "--model-id", "--model-path", "-m", "-hf", "--hf-repo")
_SERVED_VARIABLES = ("SERVED_MODEL_NAME", "NIM_SERVED_MODEL_NAME", "LLAMA_ARG_ALIAS")
_LOADED_VARIABLES = (
    *("MODEL_ID", "NIM_MODEL_NAME", "LLAMA_ARG_MODEL", "INFINITY_MODEL_ID"),
    *("LLAMA_ARG_HF_REPO", "HF_MODEL_ID"),
)
_ADAPTER_FLAGS = ("--lora-modules", "--lora-paths", "--lora-adapters")
_ADAPTER_VARIABLES = ("LORA_ADAPTERS",)
# Commands whose first word without a flag is the model: `vllm serve MODEL`.
_COMMANDS = (("vllm", "serve"), ("lmdeploy", "serve", "api_server"), ("trtllm-serve", "serve"))
# Names in one pod: beyond that it is no list of models.
_MOST_NAMES = 50


def serving_labels(containers: Sequence[Json]) -> dict[str, str]:
    """Return, under reserved keys, what containers that look like an engine say they serve.

    Names stand one a line, the one that the engine publishes first. Nothing is returned for
    containers that look like none: a training script has a ``--model`` as well.
    """
    served: list[str] = []
    loaded: list[str] = []
    adapters: list[str] = []
    engine = ""
    for container in containers:
        said = _said(container)
        if not said.engine:
            continue
        engine = engine or said.engine
        served += said.served
        loaded += said.loaded
        adapters += said.adapters
    found = {
        ENGINE: engine,
        SERVED_MODELS: _joined([*served, *loaded]),
        LORA_ADAPTERS: _joined(adapters),
    }
    return {key: text for key, text in found.items() if text}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    engine: str
    served: tuple[str, ...] = ()
    loaded: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()


def _said(container: Json) -> _Said:
    environment = _environment(container)
    words = [word for text in _texts(container) for word in _words(text, environment)]
    image = str(container.get("image") or "")
    engine = _engine(image, words)
    if not engine:
        return _Said(engine="")
    flags = list(_flags(words))
    adapters = [text for name, text in flags if name in _ADAPTER_FLAGS]
    return _Said(
        engine=engine,
        served=(
            *(text for name, text in flags if name in _SERVED_FLAGS),
            *_listed(environment, _SERVED_VARIABLES),
        ),
        loaded=(
            *_positional(words),
            *(text for name, text in flags if name in _LOADED_FLAGS and not _is_module(text)),
            *_listed(environment, _LOADED_VARIABLES),
        ),
        adapters=tuple(map(_adapter, [*adapters, *_listed(environment, _ADAPTER_VARIABLES)])),
    )


def _engine(image: str, words: Sequence[str]) -> str:
    """Return the engine that the command starts, else the one that the image is of."""
    name = image.partition("@")[0].casefold()
    command = " ".join(words).casefold()
    for text in (command, name):
        for engine, marks in _ENGINES:
            if any(mark in text for mark in marks):
                return engine
    return ""


def _flags(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield every flag with each of its values: ``--flag value``, ``--flag=value``, lists."""
    flag = ""
    for word in words:
        if word.startswith("-"):
            flag, equals, value = word.partition("=")
            if equals:
                yield flag, value
        elif flag:
            yield flag, word


def _positional(words: Sequence[str]) -> list[str]:
    names = [word.rpartition("/")[2] for word in words]
    for command in _COMMANDS:
        for place in range(len(words) - len(command)):
            if tuple(names[place : place + len(command)]) == command:
                model = words[place + len(command)]
                return [] if model.startswith("-") else [model]
    return []


def _is_module(text: str) -> bool:
    """Say whether the value of ``-m`` is what Python is to run."""
    return "/" not in text and text.startswith(("vllm.", "sglang.", "lmdeploy.", "tensorrt_llm."))


def _adapter(text: str) -> str:
    """Return the name of an adapter, which is said as ``name=path`` or as JSON."""
    if text.startswith("{"):
        try:
            said = orjson.loads(text)
        except orjson.JSONDecodeError:
            return ""
        return str(said.get("name") or "") if isinstance(said, dict) else ""
    return text.partition("=")[0]


def _listed(environment: Mapping[str, str], names: Sequence[str]) -> list[str]:
    return [part.strip() for name in names for part in environment.get(name, "").split(",") if part]


def _environment(container: Json) -> dict[str, str]:
    """Return the variables whose values stand in the pod itself."""
    given = container.get("env")
    return {
        str(one.get("name")): str(one["value"])
        for one in (given if isinstance(given, list) else [])
        if isinstance(one, dict) and isinstance(one.get("value"), str)
    }


def _texts(container: Json) -> Iterator[str]:
    for key in ("command", "args"):
        given = container.get(key)
        yield from (str(one) for one in (given if isinstance(given, list) else []))


def _words(text: str, environment: Mapping[str, str]) -> list[str]:
    """Return the words of an argument, which may be a whole script, variables put in."""
    for name, value in environment.items():
        for reference in (f"$({name})", f"${{{name}}}", f"${name}"):
            text = text.replace(reference, value)
    if not any(space in text for space in " \n\t") or text.startswith("{"):
        return [text]
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return text.split()


def _joined(names: Sequence[str]) -> str:
    kept = [name for name in names if name and "\n" not in name and "$" not in name]
    return "\n".join(list(dict.fromkeys(kept))[:_MOST_NAMES])
