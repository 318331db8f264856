"""Random fleets of engines, frontends and routers against a walk over every replica."""

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from app.usage.identity import model_id
from app.usage.serving_pods import ServingPod
from tests.usage.builders import counter_samples
from tests.usage.serving import a_serving_pod, noted, rising, served_by

NAMESPACES = ("search", "chat")
# Two models; the second name of each is what a frontend may call it.
MODELS = (("Qwen/Q3", "qwen/q3"), ("Llama", "llama:latest"))
COLUMNS = {
    "PROMPT_TOKENS": "prompt_tokens",
    "GENERATION_TOKENS": "generation_tokens",
    "REASONING_TOKENS": "reasoning_tokens",
}
PROMPT = "PROMPT_TOKENS"


@dataclass(frozen=True)
class Replica:
    """A pod that publishes quantities of one model; only engines hold devices."""

    number: int
    namespace: str
    model: int
    layer: str
    role: str
    service: int
    growth: tuple[tuple[str, int], ...]

    @property
    def pod(self) -> str:
        return f"pod-{self.number}"

    @property
    def published(self) -> str:
        return MODELS[self.model][self.layer != "engine"]


@st.composite
def fleets(draw: st.DrawFn) -> list[Replica]:
    count = draw(st.integers(0, 6))
    return [
        Replica(
            number=number,
            namespace=draw(st.sampled_from(NAMESPACES)),
            model=draw(st.integers(0, 1)),
            layer=draw(st.sampled_from(["engine", "engine", "frontend", "router"])),
            role=draw(st.sampled_from(["", "prefill", "decode"])),
            service=draw(st.integers(1, 2)),
            growth=tuple(
                draw(st.dictionaries(st.sampled_from([*COLUMNS]), st.integers(0, 9))).items()
            ),
        )
        for number in range(count)
    ]


def pod_of(replica: Replica) -> ServingPod:
    return a_serving_pod(
        replica.pod,
        namespace=replica.namespace,
        workload_id=replica.service,
        role=replica.role,
    )


@settings(max_examples=20)
@given(fleet=fleets())
def test_every_token_counts_once_or_is_named(fleet: list[Replica]) -> None:
    facts = served_by(
        *(pod_of(one) for one in fleet if one.layer == "engine"),
        counters=counter_samples(
            *(
                rising(
                    quantity,
                    much,
                    namespace=one.namespace,
                    pod=one.pod,
                    model=one.published,
                    layer=one.layer,
                    role=one.role,
                    identity=f"{one.pod} {quantity}",
                )
                for one in fleet
                for quantity, much in one.growth
            )
        ),
    )

    for quantity, column in COLUMNS.items():
        counted = [
            (one, much)
            for one in fleet
            for name, much in one.growth
            if name == quantity and counts(one, quantity, fleet)
        ]
        assert facts.token_usage[column].sum() == sum(much for _, much in counted)
        for service in (1, 2):
            mine = facts.token_usage.loc[facts.token_usage["workload_id"] == service]
            wanted = [
                (one, much)
                for one, much in counted
                if one.layer == "engine" and one.service == service
            ]
            assert mine[column].sum() == sum(much for _, much in wanted)
            for model, (name, _) in enumerate(MODELS):
                of_model = mine.loc[mine["model_id"] == model_id(name), column].sum()
                assert of_model == sum(much for one, much in wanted if one.model == model)
    whole = sum(much for one in fleet for _, much in one.growth)
    named = sum(much for _, much in noted(facts, "reexported"))
    assert facts.token_usage[[*COLUMNS.values()]].sum().sum() + named == whole
    minutes = facts.service_minutes[["prompt_tokens", "generation_tokens"]].sum()
    tokens = facts.token_usage[["prompt_tokens", "generation_tokens"]].sum()
    assert minutes.tolist() == tokens.tolist()


def counts(one: Replica, quantity: str, fleet: list[Replica]) -> bool:
    """Say whether a replica's growth is the one that counts."""
    same = [
        other
        for other in fleet
        if (other.namespace, other.model) == (one.namespace, one.model)
        and quantity in dict(other.growth)
    ]
    if one.layer == "router":
        return False
    engines = [other for other in same if other.layer == "engine"]
    if one.layer == "frontend" and engines:
        return False
    speaks, silent = ("prefill", "decode") if quantity == PROMPT else ("decode", "prefill")
    peers = [other for other in same if other.layer == one.layer]
    return not (one.role == silent and any(other.role == speaks for other in peers))
