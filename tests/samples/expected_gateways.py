"""What gateways say in each text that is one's; "None" and "none" are nobody."""

from collections.abc import Mapping

from tests.samples.expecting import consumed
from tests.samples.reading import Read


def _mock(
    asked: str, model: str, *, further: Mapping[str, int] | None = None
) -> tuple[str, str, str, str, Mapping[str, int]]:
    figures = {"prompt_tokens": 360, "generation_tokens": 240, **(further or {})}
    return "", "", asked, model, figures


GATEWAYS: Mapping[str, Read] = {
    # Requests and calls of tools; no tokens.
    "agentgateway_mcp_telemetry": Read(),
    "envoy_ai_gateway_extproc": consumed(
        "envoy_ai_gateway",
        (
            *("", "", "qwen2.5:0.5b", "qwen2.5:0.5b"),
            {"prompt_tokens": 44, "generation_tokens": 14, "requests": 1},
        ),
    ),
    "gaie_v1.0_epp_inference_model": consumed(
        "inference_extension",
        *(
            ("", "", asked, target, {"prompt_tokens": a, "generation_tokens": b, "requests": n})
            for asked, target, a, b, n in (
                ("m10", "t10", 30, 300, 2),
                ("m10", "t11", 30, 300, 1),
                ("m20", "t20", 40, 400, 1),
            )
        ),
    ),
    "higress_ai_statistics": consumed(
        "higress",
        (
            *("", "", "qwen-turbo", ""),
            {"prompt_tokens": 24, "generation_tokens": 507, "requests": 2},
        ),
    ),
    # 3,000 total tokens are the other two once more.
    "kong_ai_llm_docs": consumed(
        "kong",
        (
            *("", "consumer1", "model1", ""),
            {"prompt_tokens": 1_000, "generation_tokens": 2_000, "requests": 100},
        ),
    ),
    # What is left of a budget, and what a price list says: no tokens.
    "litellm_remaining_team_budget": Read(),
    "litellm_spend_gemini_embedding_real": Read(),
    # Cached and reasoning tokens are parts; those written to the cache and audio are not kept
    # apart; totals are the sum. Three users of one model have no team and no alias.
    "litellm_v1_95_tokens_org_cached_reasoning": consumed(
        "litellm",
        (
            *("", "", "mock-basic", "gpt-4o"),
            {"prompt_tokens": 600 + 360 + 240, "generation_tokens": 400 + 240 + 160},
        ),
        _mock("mock-cache-read", "gpt-4o-cache-read", further={"cached_prompt_tokens": 192}),
        _mock("mock-cache-write", "gpt-4o-cache-write"),
        _mock("mock-reason", "o3-mini-reason", further={"reasoning_tokens": 165}),
        _mock("mock-audio", "gpt-4o-audio"),
    ),
}
