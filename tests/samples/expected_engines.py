"""What engines say in each text that is one's."""

from collections.abc import Mapping

from tests.samples.expecting import served, together
from tests.samples.reading import Read

_QWEN = "Qwen/Qwen3-0.6B"
_KOPS = "Qwen/Qwen2.5-0.5B-Instruct"
_NIM = "meta/llama-3.1-8b-instruct"

ENGINES: Mapping[str, Read] = {
    # Model names are small letters here, and as they were given in the workers' texts.
    "dynamo_frontend_fixture": served(
        "dynamo",
        "example/example-model-nvfp4",
        layer="frontend",
        tokens={"generation": 500_000},
        requests={"success": 6_000},
        gauges={"running": 12, "waiting": 3},
    ),
    "dynamo_frontend_real_fe_log": served(
        "dynamo",
        _QWEN.lower(),
        layer="frontend",
        tokens={"prompt": 33, "generation": 300},
        requests={"success": 1},
        latency={"time_to_first_token": 1, "inter_token": 299, "end_to_end": 1},
        gauges={"running": 0, "waiting": 0},
    ),
    # The worker counts the requests of the engine inside, which publishes them itself.
    "dynamo_worker_sglang_passthrough": together(
        served(
            "sglang",
            _QWEN,
            tokens={"prompt": 33, "generation": 300},
            requests={"success": 1},
            latency={"end_to_end": 1, "queue_time": 1},
        ),
        served(
            "dynamo_worker",
            _QWEN,
            layer="frontend",
            requests={"": 1},
            latency={"end_to_end": 1},
            gauges={"running": 0},
        ),
    ),
    # Of five endpoints one generates.
    "dynamo_worker_vllm_components_five_endpoints": served(
        "dynamo_worker", _QWEN, requests={"": 2}, latency={"end_to_end": 2}, gauges={"running": 0}
    ),
    # Prompt tokens from the cache are another counter, which this release has not.
    "llamacpp_six_significant_digits": served(
        "llamacpp",
        "",
        tokens={"prompt": 1_905_110, "generation": 420_506},
        notes={
            ("counter_precision", "llamacpp"): 6,
            ("missing_part", "serving/llamacpp-six-significant-digits"): 0,
        },
    ),
    # Of how requests ended only one reason is shown, and as many as succeeded; counted once.
    "nvidia_nim_llama31_8b_unprefixed": served(
        "nim",
        _NIM,
        tokens={"prompt": 109, "generation": 174},
        requests={"length": 5, "error": 0},
        latency={"time_to_first_token": 5, "inter_token": 169, "end_to_end": 5},
        gauges={"running": 1, "waiting": 0, "cache_usage": 0.0002848191398461977},
    ),
    # The share of cache hits is no number of tokens; the buckets end before the first observation.
    "sglang_docs_llama31_8b": served(
        "sglang",
        "meta-llama/Llama-3.1-8B-Instruct",
        tokens={"prompt": 8_128_902, "generation": 7_557_572},
        latency={"time_to_first_token": 0},
        gauges={"cache_usage": 0.28},
    ),
    # Requests that came are more than those that succeeded; an embedded one is the same one.
    "tei_cpu_bge_small_real": served("tei", "", requests={"success": 1}, gauges={"waiting": 3}),
    # Tokens are the sums of histograms; how many requests there were is not in the text.
    "tgi_fixture_thirdparty": served("tgi", "", tokens={"prompt": 18_000, "generation": 12_500}),
    "triton_nv_inference_summary_docs": served("triton", "my_model", requests={"success": 161}),
    # No token counter: what looks like one is a gauge of the batch.
    "triton_trtllm_backend": served(
        "triton", "tensorrt_llm", gauges={"running": 0, "waiting": 1, "cache_usage": 0.4875}
    ),
    "triton_vllm_backend_model_version_labels": served(
        "vllm",
        "vllm_model",
        tokens={"prompt": 10, "generation": 16},
        latency={"time_to_first_token": 1, "inter_token": 15},
    ),
    "trtllm_serve_dynamo_docs": served(
        "trtllm_serve",
        _QWEN,
        requests={"stop": 150, "length": 5},
        latency={"time_to_first_token": 0},
    ),
    # Two eras in one text: cached tokens under three names are the same 64, of another run than
    # the prompt's 5.
    "vllm_mixed_eras_datadog_opt125m": served(
        "vllm",
        "facebook/opt-125m",
        tokens={"prompt": 5, "cached_prompt": 64, "generation": 7},
        requests={"length": 1},
        gauges={"running": 0, "waiting": 0, "cache_usage": 0},
    ),
    "vllm_old_v0_fixture_model_name_only": served(
        "vllm",
        "cloudless",
        tokens={"prompt": 1_841_022, "generation": 402_118},
        gauges={"running": 3, "waiting": 12, "cache_usage": 0.87},
    ),
    # Scraped from the engine's port and from the sidecar's: once. The sum of a histogram that is
    # called a total (1,103) is both kinds of tokens together, and none of ours.
    "vllm_v0_jan2025_aibrix_runtime_passthrough": served(
        "vllm",
        "Qwen/Qwen2.5-Coder-1.5B-Instruct",
        tokens={"prompt": 148, "generation": 955},
        requests={"stop": 4},
        gauges={"running": 0, "waiting": 0, "cache_usage": 0},
        notes={
            ("duplicate_series", name): 1
            for name in (
                *("prompt_tokens", "generation_tokens", "requests"),
                *("running", "waiting", "cache_usage"),
            )
        },
    ),
    # A server that just started: everything is there and zero.
    "vllm_v1_mar2026_qwen_kops_full": served(
        "vllm",
        _KOPS,
        tokens={"prompt": 0, "cached_prompt": 0, "generation": 0},
        requests={"stop": 0, "length": 0, "abort": 0, "error": 0, "repetition": 0},
        latency={"time_to_first_token": 0, "inter_token": 0, "end_to_end": 0, "queue_time": 0},
        gauges={"running": 0, "waiting": 0, "cache_usage": 0},
    ),
}
