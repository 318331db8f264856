"""What containers say they serve: flags, variables and images of the engines."""

from collections.abc import Mapping

import pytest

from app.sources.kubernetes_objects import pod_facts
from app.sources.serving_containers import serving_labels
from app.usage.serving_pods import CONTAINERS_STARTED, ENGINE, LORA_ADAPTERS, SERVED_MODELS


def a_container(
    image: str = "example.com/vllm/vllm-openai:v0.11.0",
    *,
    command: tuple[str, ...] = (),
    args: tuple[str, ...] = (),
    **variables: str,
) -> dict[str, object]:
    env = [{"name": name, "value": value} for name, value in variables.items()]
    return {"name": "main", "image": image, "command": [*command], "args": [*args], "env": env}


def said(container: dict[str, object]) -> tuple[str, list[str]]:
    labels = serving_labels([container])
    return labels.get(ENGINE, ""), labels.get(SERVED_MODELS, "").splitlines()


def test_the_served_names_come_before_what_is_loaded() -> None:
    args = ("--model", "/models/l3", "--served-model-name", "llama", "llama-latest", "--port", "80")

    assert said(a_container(args=args)) == ("vllm", ["llama", "llama-latest", "/models/l3"])


def test_flags_may_carry_their_value() -> None:
    assert said(a_container(args=("--model=a/b", "--served-model-name=c")))[1] == ["c", "a/b"]


@pytest.mark.parametrize(
    ("command", "model"),
    [
        (("vllm", "serve", "org/m", "--port", "8000"), ["org/m"]),
        (("/usr/bin/vllm", "serve", "--port", "8000"), []),
        (("python3", "-m", "vllm.entrypoints.openai.api_server", "--model", "org/m"), ["org/m"]),
        (("/bin/sh", "-c", "exec vllm serve org/m \\\n  --served-model-name 'm'"), ["m", "org/m"]),
        (("/bin/sh", "-c", "vllm serve 'org/m"), ["'org/m"]),
    ],
)
def test_commands_and_scripts_are_read(command: tuple[str, ...], model: list[str]) -> None:
    assert said(a_container(command=command)) == ("vllm", model)


def test_variables_are_put_in() -> None:
    container = a_container(
        args=("--model", "$(MODEL)", "--served-model-name", "$OTHER"), MODEL="a"
    )

    assert said(container)[1] == ["a"]


@pytest.mark.parametrize(
    ("container", "engine", "models"),
    [
        (a_container("ghcr.io/x/text-generation-inference:3", MODEL_ID="a/b"), "tgi", ["a/b"]),
        (a_container("x/text-embeddings-inference", args=("--model-id", "e")), "tei", ["e"]),
        (a_container("lmsysorg/sglang", args=("--model-path", "a/b")), "sglang", ["a/b"]),
        (
            a_container("x/llama.cpp:server", args=("-m", "/m/q.gguf", "--alias", "q")),
            "llamacpp",
            ["q", "/m/q.gguf"],
        ),
        (a_container("nvcr.io/nim/meta/llama:1", NIM_SERVED_MODEL_NAME="a,b"), "nim", ["a", "b"]),
        (a_container("nvcr.io/nvidia/tritonserver:25.01-py3"), "triton", []),
        (
            a_container("nvcr.io/nvidia/tensorrt-llm", command=("trtllm-serve", "serve", "a/b")),
            "trtllm_serve",
            ["a/b"],
        ),
        (a_container("ollama/ollama"), "ollama", []),
        (a_container("michaelf34/infinity", args=("v2", "--model-id", "e")), "infinity", ["e"]),
    ],
)
def test_each_engine_is_known_by_its_image_or_command(
    container: dict[str, object], engine: str, models: list[str]
) -> None:
    assert said(container) == (engine, models)


def test_a_command_tells_more_than_its_image() -> None:
    container = a_container("nvcr.io/nvidia/tritonserver:x", command=("vllm", "serve", "m"))

    assert said(container) == ("vllm", ["m"])


def test_adapters_are_named_with_their_path_or_in_json() -> None:
    args = ("--lora-modules", "sql=/l/sql", '{"name": "chat", "path": "/l/chat"}', "{broken")

    labels = serving_labels([a_container(args=args)])
    assert labels[LORA_ADAPTERS].splitlines() == ["sql", "chat"]
    tgi = a_container("x/text-generation-inference", MODEL_ID="m", LORA_ADAPTERS="sql=a/b,chat")
    assert serving_labels([tgi])[LORA_ADAPTERS].splitlines() == ["sql", "chat"]


def test_what_looks_like_no_engine_says_nothing() -> None:
    training = a_container("pytorch", command=("python", "train.py", "--model", "a/b"))

    assert serving_labels([training, {"name": "odd", "args": "no list", "env": 3}]) == {}


def test_a_sidecar_beside_the_engine_does_not_matter() -> None:
    engine = a_container(args=("--model", "m"))

    assert serving_labels([a_container("envoy", args=("--model", "x")), engine]) == {
        ENGINE: "vllm",
        SERVED_MODELS: "m",
    }


def a_pod(*statuses: Mapping[str, object], image: str = "vllm/vllm-openai") -> dict[str, object]:
    return {
        "metadata": {
            "name": "llm-0",
            "namespace": "ml",
            "uid": "u-1",
            "creationTimestamp": "2026-11-23T10:00:00Z",
            "labels": {"app": "llm"},
        },
        "spec": {
            "nodeName": "node-1",
            "containers": [a_container(image, args=("--model", "m"))],
        },
        "status": {"phase": "Running", "containerStatuses": [*statuses]},
    }


def test_a_pods_facts_carry_what_it_serves_and_when_its_first_container_began() -> None:
    restarted = {
        "name": "main",
        "lastState": {"terminated": {"startedAt": "1970-01-01T00:01:00Z"}},
        "state": {"running": {"startedAt": "1970-01-01T00:05:00Z"}},
    }
    waiting = {"name": "proxy", "state": {"waiting": {"reason": "ImagePullBackOff"}}}

    assert dict(pod_facts(a_pod(restarted, waiting)).labels) == {
        "app": "llm",
        ENGINE: "vllm",
        SERVED_MODELS: "m",
        CONTAINERS_STARTED: "60000",
    }


def test_a_pod_without_an_engine_keeps_its_labels_as_they_are() -> None:
    assert pod_facts(a_pod(image="pytorch")).labels == (("app", "llm"),)
