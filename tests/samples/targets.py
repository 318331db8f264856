"""As what each text is scraped: the labels that a cluster's Prometheus gives its target."""

# Behind the name of a text: it is scraped without ``honor_labels``, or with its mistakes mended.
PLAIN = "--plain"
MENDED = "--mended"

# A sidecar of the pod serves the engine's text once more on a port of its own.
BESIDE_A_SIDECAR = frozenset({"vllm_v0_jan2025_aibrix_runtime_passthrough"})

# Hardware exporters are pods of their own; what they say of holders wins, as with ``honorLabels``.
_EXPORTER_PODS = {
    "dcgm": "nvidia-dcgm-exporter-x7k2p",
    "amd": "default-metrics-exporter-vvvkm",
    "intel": "intel-xpumanager-4m9tz",
    "hami": "hami-scheduler-6c9f8d-abcde",
    "aws": "neuron-monitor-q8s4d",
}


def has_plain(name: str) -> bool:
    """Say whether a text is scraped a second time, the labels of its target winning."""
    return _kind(name) in _EXPORTER_PODS


def labels_of_targets(name: str) -> list[dict[str, str]]:
    """Return the labels of each target that serves a text, besides the text's own mark."""
    kind = _kind(name)
    if kind in _EXPORTER_PODS:
        pod = _EXPORTER_PODS[kind]
        return [{"namespace": "gpu-operator", "pod": pod, "instance": "10.0.0.9:9400"}]
    if kind == "ksm":
        return [{"instance": "10.0.0.7:8080"}]
    place = {"namespace": "serving", "pod": name.replace("_", "-").replace(".", "-")}
    ports = (8000, 8080) if name in BESIDE_A_SIDECAR else (8000,)
    return [{**place, "instance": f"10.0.0.8:{port}"} for port in ports]


def _kind(name: str) -> str:
    return name.partition("_")[0]
