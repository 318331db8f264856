"""What exporters of hardware say in each text that is one's."""

from collections.abc import Mapping

from tests.samples.expecting import measured
from tests.samples.reading import Read

_ENGINE = "gr_engine_active"
_RUN_AI = "GPU-7099682b-a20d-2bcc-74ab-b9060454d81e"
_DOCS = "GPU-34319582-d595-d1c7-d1d2-179bcfa61660"
_T4_0 = "GPU-7a2e92f2-be71-d37e-a744-541600ffc722"
_T4_1 = "GPU-5f587dd4-6505-0873-c6db-8324dbfe5ba9"
_IDLE_AMD = "ccff74a1-0000-1000-80e0-c6d49f5b0d86"
_BUSY_AMD = "3dff74a1-0000-1000-80d3-0c4c1df1df58"
_A100_PCIE = (
    "GPU-ed1353d6-52ba-8793-7230-4d5d3eb68167",
    "GPU-6043e4b2-feaa-8010-34c7-61d1a01576bb",
)


def _whole(device: str, active: float, energy: float, memory: float, dram: float) -> Read:
    """Return what is said of one whole device that nobody is known to hold."""
    one = (device, "")
    return measured(
        _ENGINE,
        {one: active},
        energy={one: energy},
        memory={one: memory},
        dram={one: dram},
    )


DEVICES: Mapping[str, Read] = {
    # The third series is of a divided GPU, of which this metric says nothing; it names the
    # exporter's own pod for its holder.
    "amd_device_metrics_exporter_mi300x": measured(
        "amd_gfx_activity",
        {(_IDLE_AMD, "0"): 0.0, (_BUSY_AMD, "0"): 1.0},
        holders={(_BUSY_AMD, "0"): frozenset({"default/high-utilization-57ls6"})},
    ),
    # A UUID of zeros and a partition NA are none: the device is called by host and number.
    "amd_device_metrics_exporter_mi325x_vf_issue211": measured(
        "amd_gfx_activity", {("mi325x8-110.atl1.do.cpe.ice.amd.com/0", ""): 0.83}
    ),
    "aws_neuron_monitor_trn1n": measured("neuron_core", {("i-09db9b55e0095612f", "0"): 0.1}),
    "dcgm_a100_mig_disabled_idle": _whole(_RUN_AI, 0.0, 424_405_577, 0, 0.0),
    # The device and its one instance, each with its own activity.
    "dcgm_a100_mig_nvidia_docs": measured(
        _ENGINE,
        {(_DOCS, ""): 0.99563, (_DOCS, "13"): 0.995687},
        energy={(_DOCS, ""): 319_159_391},
        memory={(_DOCS, ""): 4_845},
        dram={(_DOCS, ""): 0.690789, (_DOCS, "13"): 0.800339},
    ),
    # Utilization of a divided device is no activity of anybody; a blank temperature is not read.
    "dcgm_blank_value_and_mig_netdata_fixture": Read(memory={("GPU-aaa", ""): 1_024}),
    # Bytes over the bus say nothing of activity.
    "dcgm_dra_gh200_k8s_blog": Read(),
    "dcgm_driver460_process_name_label_datadog": measured(
        "gpu_util",
        {("GPU-20c56d28-0da5-6d26-a36a-e7af1ce2586e", ""): 0.0},
        holders={("GPU-20c56d28-0da5-6d26-a36a-e7af1ce2586e", ""): frozenset({"foo/bar"})},
    ),
    "dcgm_l40s_upcloud": _whole(
        "GPU-5b4e07f6-3a86-4340-039d-25f2a83cdc43", 0.0, 5_551_899_580, 0, 0.000131
    ),
    # The text has each series twice.
    "dcgm_l4_x8_kops_idle_nopodlabels": _whole(
        "GPU-c2f76b33-7953-256e-8f33-1343419b1a1c", 0.0, 4_742_776, 0, 0.0
    ),
    # Energy is the board's, repeated on each instance.
    "dcgm_mig_a100_mixed_profiles_active": measured(
        _ENGINE,
        {(_RUN_AI, "5"): 0.000036, (_RUN_AI, "7"): 0.000062, (_RUN_AI, "9"): 0.999917},
        energy={(_RUN_AI, part): 57_585_599 for part in "579"},
        memory={(_RUN_AI, "5"): 153, (_RUN_AI, "7"): 98, (_RUN_AI, "9"): 4_384},
        dram={(_RUN_AI, "5"): 0.000001, (_RUN_AI, "7"): 0.000053, (_RUN_AI, "9"): 0.647986},
    ),
    "dcgm_mig_enabled_no_instances_idle": measured(
        _ENGINE,
        {(_RUN_AI, ""): 0.000033},
        energy={(_RUN_AI, ""): 8_981_778},
        dram={(_RUN_AI, ""): 0.000005},
    ),
    "dcgm_mig_idle_1g5gb_allocated": measured(
        _ENGINE,
        {(_RUN_AI, "8"): 0.0},
        energy={(_RUN_AI, "8"): 4_617_218},
        memory={(_RUN_AI, "8"): 6},
        dram={(_RUN_AI, "8"): 0.0},
    ),
    # Small letters, other labels.
    "dcgm_mig_old_namespace_labels_issue272": measured(
        _ENGINE,
        {(_A100_PCIE[0], "1"): 0.0, (_A100_PCIE[0], "2"): 0.0, (_A100_PCIE[1], "1"): 0.0},
    ),
    # Clocks, and a blank.
    "dcgm_readme_blank_and_empty_pod_labels": Read(),
    "dcgm_t4_ericsson_busy": _whole(
        "GPU-6d5c0ac5-74d7-3130-46f1-e93ed57f469a", 0.156205, 15_152_422_938, 5_120, 0.092781
    ),
    # The pod that reserves a GPU for fractions is named as its holder; who holds is not read here.
    "dcgm_t4_runai_fraction_reservation_pod": measured(
        _ENGINE,
        {(_T4_0, ""): 0.000039, (_T4_1, ""): 0.0},
        energy={(_T4_0, ""): 9_022_652, (_T4_1, ""): 8_855_497},
        memory={(_T4_0, ""): 128, (_T4_1, ""): 5},
        dram={(_T4_0, ""): 0.000002, (_T4_1, ""): 0.000001},
        holders={
            (_T4_0, ""): frozenset(
                {"runai-reservation/runai-reservation-gpu-qa-mig-worker-gpu-1-kvltw"}
            )
        },
    ),
    # A temperature.
    "dcgm_time_slicing_exported_pod_three_pods_one_gpu_issue340": Read(),
    # One device's value, shown to each of three pods.
    "dcgm_time_slicing_virtual_gpus_identical_values_issue587": measured(
        _ENGINE,
        {("GPU-587", ""): 0.714},
        holders={("GPU-587", ""): frozenset(f"default/gpu-workload-{n}" for n in (1, 2, 3))},
    ),
    # What the scheduler gave to whom stands in the pods' annotations; the devices' own
    # utilization is another component's.
    "hami_scheduler_new_and_legacy": Read(),
    # How devices are linked.
    "intel_xpum_v1_topology_link_fixture": Read(),
}
