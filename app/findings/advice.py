"""What each kind of hole in the ledger's knowledge means, and what to do about it: one table.

Every kind of note that the code can make has its entry, beside those that coverage finds itself.
"""

from dataclasses import dataclass
from enum import StrEnum


class Weight(StrEnum):
    """What a hole does to the figures, the worst first."""

    MISSING = "missing"
    """Something is not known: its time, tokens or money is in no measured share."""
    DOUBTFUL = "doubtful"
    """It is counted, and may be off."""
    TOLD = "told"
    """Nothing is wrong: said so that nobody has to guess."""


class About(StrEnum):
    """What a note's subject begins with: whose hole it is."""

    CLUSTER = "cluster"
    """The cluster, one of its nodes or a family of metrics."""
    NAMESPACE = "namespace"
    """The namespace itself."""
    POD = "pod"
    """``namespace/name``, with more words behind it or none."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What a kind of hole is: its weight, whose it is, the unit of its quantity, what to do."""

    weight: Weight
    about: About
    unit: str
    todo: str


_M, _D, _T = Weight.MISSING, Weight.DOUBTFUL, Weight.TOLD
_C, _N, _P = About.CLUSTER, About.NAMESPACE, About.POD
_GPU_MS = "GPU ms"

ADVICE: dict[str, Advice] = {
    # Inventory: who held what.
    "watch_gap": Advice(
        _M,
        _C,
        "ms",
        "Keep one `gpuledger worker` (or `gpuledger watch`) running at all times, and kube-state-"
        "metrics scraped beside it: it fills gaps to a scrape.",
    ),
    "no_inventory": Advice(
        _M,
        _C,
        "ms",
        "No source said who held what: run `gpuledger worker` with the rights of "
        "deploy/kubernetes/rbac.yaml, or scrape kube-state-metrics (kube_pod_info, "
        "kube_pod_container_resource_requests, kube_node_status_capacity).",
    ),
    "hold_without_node": Advice(
        _M,
        _P,
        "devices",
        "Grant list and watch on nodes (deploy/kubernetes/rbac.yaml), or scrape kube_node_info and "
        "kube_node_labels for that node.",
    ),
    "hold_on_unknown_pool": Advice(
        _M,
        _P,
        _GPU_MS,
        "Let the node say its devices: a device plugin that fills `capacity`, and the label "
        "nvidia.com/gpu.product (GPU Feature Discovery).",
    ),
    "hold_outside_pool": Advice(
        _D,
        _P,
        _GPU_MS,
        "Compare the clocks of the nodes and of the API server (NTP); the pod's times lie outside "
        "its node's life.",
    ),
    "hold_end_unsure": Advice(
        _D,
        _P,
        "ms",
        "Keep the watch running; with kube-state-metrics alone, scrape it more often.",
    ),
    "unknown_holds": Advice(
        _M,
        _C,
        "holds",
        "Keep the watch running, so that every pod is seen while it lives.",
    ),
    "unknown_node": Advice(
        _M,
        _C,
        "nodes",
        "Grant list and watch on nodes, or scrape kube_node_info and kube_node_labels "
        "(--metric-labels-allowlist=nodes=[*]).",
    ),
    # Sharing.
    "unknown_share": Advice(
        _M,
        _C,
        "units",
        "Label the node so that the share is known: nvidia.com/gpu.product, "
        "nvidia.com/mig.strategy, nvidia.com/gpu.replicas and nvidia.com/gpu.sharing-strategy (GPU "
        "Feature Discovery); see docs/decisions/0013-what-a-share-is-of-a-device.md.",
    ),
    "oversubscribed": Advice(
        _D,
        _C,
        _GPU_MS,
        "More is held of the node's devices than there is; shares were scaled to 1. Look at "
        "nvidia.com/gpu.replicas and at pods that get devices past the scheduler "
        "(NVIDIA_VISIBLE_DEVICES).",
    ),
    "fractions_not_visible": Advice(
        _M,
        _P,
        "pods",
        "Watch the Kubernetes API (kubernetes.mode), or let kube-state-metrics show the "
        "annotations: --metric-annotations-allowlist=pods=[gpu-fraction,gpu-memory,runai.ai/*].",
    ),
    "claims_not_visible": Advice(
        _M,
        _P,
        "claims",
        "Set kubernetes.mode and grant list and watch on resourceclaims and resourceslices and "
        "list on deviceclasses of resource.k8s.io: kube-state-metrics does not show the devices.",
    ),
    "dra_forbidden": Advice(
        _M,
        _C,
        "clusters",
        "Grant list and watch on resourceclaims and resourceslices and list on deviceclasses of "
        "resource.k8s.io (deploy/kubernetes/rbac.yaml), then start the watch again.",
    ),
    "claim_without_slice": Advice(
        _D,
        _P,
        "devices",
        "Check that the DRA driver runs on the node and publishes its ResourceSlice, and that "
        "resourceslices may be listed and watched.",
    ),
    "unknown_device_driver": Advice(
        _M,
        _C,
        "devices",
        "The DRA driver is none of those that are known to give accelerators; if its devices are "
        "GPUs, say so in an issue of gpuledger, with one ResourceSlice of it.",
    ),
    # Metrics: names, rhythm, samples.
    "alias": Advice(_T, _C, "series", "Nothing: the family was read under the name that is said."),
    "query": Advice(_T, _C, "questions", "Nothing: the question that was asked."),
    "missing_family": Advice(
        _M,
        _C,
        "series",
        "Let the exporter publish one of the names that are said: of DCGM, add the field to the "
        "counters file of dcgm-exporter (DCGM_EXPORTER_COLLECTORS); of an engine, see "
        "docs/metrics-read.md.",
    ),
    "missing_part": Advice(
        _M,
        _P,
        "series",
        "Let the engine publish the metric that is said, or drop the relabelling that removes it.",
    ),
    "duplicate_series": Advice(
        _D,
        _C,
        "series",
        "Each was counted once. Scrape the target by one job only, or name the labels of the "
        "Prometheus replicas for deduplication.",
    ),
    "scrape_interval": Advice(
        _D,
        _C,
        "ms",
        "Set clusters.prometheus.scrape_interval_seconds to what is scraped in truth, or scrape "
        "more often.",
    ),
    "data_end_early": Advice(
        _D,
        _C,
        "ms",
        "Raise clusters.settle_minutes, and look at the clock of the Prometheus host and at remote "
        "write: the newest samples come late.",
    ),
    "partial": Advice(
        _M,
        _C,
        "answers",
        "Look at the stores behind the server (Thanos, VictoriaMetrics), then `gpuledger collect` "
        "the hour again.",
    ),
    "dropped_samples": Advice(
        _D,
        _C,
        "samples",
        "Look at the exporter: it publishes values that are none (blanks of DCGM: a field that the "
        "GPU does not support).",
    ),
    "label_repaired": Advice(
        _D, _C, "labels", "Let the exporter publish short labels in UTF-8 without NUL."
    ),
    "no_device": Advice(
        _M,
        _C,
        "series",
        "Keep the labels that name the device (UUID, gpu, Hostname): look for labeldrop in the "
        "scrape configuration.",
    ),
    "device_without_node": Advice(
        _D,
        _C,
        "devices",
        "Let the scrape add the label node: `__meta_kubernetes_pod_node_name` as node, by a "
        "relabeling of the exporter's job.",
    ),
    "lost_samples": Advice(
        _D,
        _C,
        "samples",
        "Look at `up` and scrape_duration_seconds of the targets: scrapes fail or are too slow.",
    ),
    # Serving.
    "publishes_nothing": Advice(
        _M,
        _P,
        "pods",
        "This engine has no counters: send its traffic through a gateway that counts tokens "
        "(LiteLLM, Envoy AI Gateway), or serve the model with one that publishes them (vLLM, "
        "llama.cpp --metrics).",
    ),
    "unseen_engine": Advice(
        _M,
        _P,
        "pods",
        "Scrape the engine's /metrics: a ServiceMonitor or PodMonitor, or the annotation "
        'prometheus.io/scrape: "true"; llama.cpp and SGLang need --metrics or --enable-metrics.',
    ),
    "unmatched_model": Advice(
        _D,
        _P,
        "tokens or requests",
        "Join the name to the model that is served: models.aliases in gpuledger.toml, or the label "
        "gpuledger.io/model on the pods.",
    ),
    "lora_adapter": Advice(
        _T, _C, "", "Nothing: its tokens are those of the model it was made for."
    ),
    "reexported": Advice(
        _T, _P, "tokens or requests", "Nothing: a router or sidecar repeats them; counted once."
    ),
    "joined_by_model": Advice(
        _D,
        _P,
        "tokens or requests",
        "Label the pods of the frontend and of the engines gpuledger.io/service with one name, so "
        "that it does not have to be guessed by the model.",
    ),
    "counter_first_value": Advice(
        _D,
        _P,
        "tokens or requests",
        "Publish the counter's birth (_created) or process_start_time_seconds, or scrape without "
        "pauses: a first value may be older than the hour.",
    ),
    "counter_carried": Advice(
        _D,
        _P,
        "tokens or requests",
        "Look for failed scrapes of the target (up == 0): the growth is right, its time is not.",
    ),
    "counter_precision": Advice(
        _D, _C, "digits", "Nothing to set: the engine rounds; look at longer spans."
    ),
    "gateway_first_value": Advice(
        _D,
        _C,
        "tokens or requests",
        "Scrape the gateway without pauses: a first value may be older than the hour.",
    ),
    "gateway_carried": Advice(
        _D, _C, "tokens or requests", "Look for failed scrapes of the gateway (up == 0)."
    ),
    "consumers_silent": Advice(
        _M,
        _C,
        "sources",
        "Scrape the gateway that consumers.source of the team contract names, and check its name "
        "and labels ([[gateways]]).",
    ),
    "model_elsewhere": Advice(
        _T,
        _C,
        "tokens",
        "Nothing if the model runs at a provider; else join its name with models.aliases.",
    ),
    # Money.
    "unpriced": Advice(
        _M,
        _C,
        _GPU_MS,
        "Add a row for the pool to the price book and `gpuledger prices import` it; "
        "`gpuledger prices test` says which row fits.",
    ),
    "energy_rated": Advice(
        _D,
        _C,
        _GPU_MS,
        "No energy counter speaks for it, so boards are charged as at rated power: let the "
        "exporter give DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION.",
    ),
    "energy_contradiction": Advice(
        _D,
        _C,
        "joules",
        "The exporter tells of more boards than the node has, or not of their node: compare them.",
    ),
    "commitments_waiting": Advice(
        _D,
        _C,
        "hours",
        "A cluster of the billing account has no facts of the hour yet: `gpuledger collect` it. "
        "Then `gpuledger rate` allots the commitments.",
    ),
    "unowned": Advice(
        _M,
        _N,
        _GPU_MS,
        "Name the namespace, or a label of its pods, in the team contract and `gpuledger contract "
        "apply` it.",
    ),
    "contested": Advice(
        _M,
        _N,
        "ms",
        "Two teams claim the namespace equally: make one rule of the team contract more exact.",
    ),
    # What coverage finds itself.
    "missing_hours": Advice(
        _M, _C, "hours", "Run `gpuledger collect` for them while Prometheus still has the samples."
    ),
    "partial_hours": Advice(
        _M, _C, "hours", "Run `gpuledger collect` again once every source answers in full."
    ),
    "unrated_hours": Advice(_M, _C, "hours", "Run `gpuledger rate`, or keep a worker running."),
    "unmeasured": Advice(
        _M,
        _N,
        _GPU_MS,
        "Run dcgm-exporter (or the vendor's exporter) on every GPU node, scrape it, and map "
        "devices to pods: DCGM_EXPORTER_KUBERNETES=true.",
    ),
    "unobserved": Advice(
        _M,
        _C,
        _GPU_MS,
        "Keep the watch running and kube-state-metrics scraped: nobody knows who held it.",
    ),
    "tokens_unknown": Advice(
        _M,
        _N,
        _GPU_MS,
        "Scrape the engines of the service (/metrics); an engine of your own needs an [[engines]] "
        "block.",
    ),
    "tokens_in_part": Advice(
        _D,
        _N,
        _GPU_MS,
        "Nothing for embeddings; else publish the other direction: prompt or generation tokens.",
    ),
    "latency_unknown": Advice(
        _M,
        _N,
        _GPU_MS,
        "Publish histograms of time to first token or end to end, and keep their `le` and _bucket "
        "series when relabelling.",
    ),
    "cold_start_unknown": Advice(
        _M,
        _N,
        _GPU_MS,
        "Watch the Kubernetes API, or scrape kube_pod_status_scheduled_time and "
        "kube_pod_status_ready_time: when pods became ready is not known.",
    ),
}

UNKNOWN_KIND = Advice(_D, _C, "", "Read the detail: this kind of note has no advice yet.")


def advice_of(kind: str) -> Advice:
    """Return what a kind of hole means; for one that is not in the table, that it is not."""
    return ADVICE.get(kind, UNKNOWN_KIND)
