"""A configuration that cannot be used: what is refused where, and what the doctor finds."""

from pathlib import Path

import pytest

from tests.cli.commands import CommandLine, shell
from tests.cli.stage import a_fleet, cluster, configuration, prometheus_of

PROMETHEUS = "http://127.0.0.1:9"
ONE = cluster("one", PROMETHEUS)


def block(name: str, prometheus: str) -> str:
    return (
        f'[[clusters]]\nname = "{name}"\nprometheus = {prometheus}\n'
        'kubernetes = { mode = "off" }\n'
    )


REFUSED = {
    "an unknown key": ('biling_zone = "UTC"\n', "biling_zone (line 1): Extra inputs are not"),
    "a zone that is none": ('billing_zone = "Europe/Atlantis"\n', "'Europe/Atlantis' is no IANA"),
    "a path as zone": ('billing_zone = "/etc/passwd"\n', "is no IANA time zone"),
    "a currency that is none": ('currency = "DOGE"\n', "'DOGE' is no currency of ISO 4217"),
    "a cluster twice": (ONE + ONE, "two clusters have the same name"),
    "a cluster without a name": (cluster("", PROMETHEUS), "clusters.0.name"),
    "a name that nobody can type": (cluster("a\\u0000b", PROMETHEUS), "clusters.0.name"),
    "a cluster without Prometheus": ('[[clusters]]\nname = "one"\n', "(line 1): Field required"),
    "clusters that are no list": ("clusters = 3\n", "clusters (line 1): "),
    "an address without a scheme": (cluster("one", "prometheus:9090"), "must be an address"),
    "an address without a host": (cluster("one", "http://"), "must be an address"),
    "an address with half a host": (cluster("one", "http://[::1"), "must be an address"),
    "an address with a wrong port": (cluster("one", "http://a:99999"), "must be an address"),
    "a header on two lines": (
        block("one", f'{{ url = "{PROMETHEUS}", headers = {{ X-Org = "a\\nb" }} }}'),
        "the header 'X-Org' cannot be sent",
    ),
    "a scrape interval of nothing": (
        block("one", f'{{ url = "{PROMETHEUS}", scrape_interval_seconds = 0 }}'),
        "scrape_interval_seconds (line 3): Input should be greater than or equal to 1",
    ),
    "a Kubernetes mode that is none": (
        cluster("one", PROMETHEUS, '{ mode = "magic" }'),
        "kubernetes.mode (line 4): Input should be 'in-cluster'",
    ),
    "a Kubernetes URL that is missing": (
        cluster("one", PROMETHEUS, '{ mode = "url" }'),
        'mode "url" and the field url belong together',
    ),
    "a Kubernetes URL that is none": (
        cluster("one", PROMETHEUS, '{ mode = "url", url = "kube" }'),
        "kubernetes.url (line 4): must be an address",
    ),
    "a ratio above one": ("[waste]\nunallocated_ratio = 5\n", "waste.unallocated_ratio"),
    "a secret": ('database_url = "postgresql://x"\n', "holds the secret 'database_url'"),
    "no TOML": ("currency = [\n", "is not valid TOML"),
    "no UTF-8": (b'currency = "\xe9"\n', "is not valid TOML"),
}


@pytest.fixture
def here(tmp_path: Path) -> CommandLine:
    """A shell without a database: the configuration is read before anything is opened."""
    return shell(tmp_path, None, GPULEDGER_DATABASE_URL="postgresql://127.0.0.1:9/none")


@pytest.mark.parametrize("case", REFUSED)
def test_a_configuration_is_refused_that_has(here: CommandLine, case: str) -> None:
    content, why = REFUSED[case]
    here.file("gpuledger.toml", content)

    error = here.run("doctor").refused(why)

    assert "gpuledger.toml" in error


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("GPULEDGER_BILLING_ZONE", "Mars/Olympus", "GPULEDGER_BILLING_ZONE: 'Mars/Olympus'"),
        ("GPULEDGER_CURRENCY", "usd", "GPULEDGER_CURRENCY: 'usd' is no currency"),
        ("GPULEDGER_SLACK_WEBHOOKS", "#a=b", "slack_webhooks"),
        ("GPULEDGER_LOG_LEVEL", "loud", "Use one of DEBUG, INFO, WARNING, ERROR"),
        ("GPULEDGER_DATABASE_URL", "mysql://a/b", "only Postgres will do"),
        ("GPULEDGER_DATABASE_URL", "the usual one", "is not a database URL"),
        ("GPULEDGER_DATABASE_URL", "postgresql://a:b@c:port/d", "is not a database URL"),
        ("GPULEDGER_CONFIG", "/there/is/none.toml", "cannot be read: No such file"),
        ("GPULEDGER_CONFIG", ".", "cannot be read: Is a directory"),
    ],
)
def test_an_environment_variable_is_refused_by_its_name(
    here: CommandLine, variable: str, value: str, why: str
) -> None:
    error = here.run("doctor", **{variable: value}).refused(why)

    assert "gpuledger.toml" not in error


def test_a_byte_order_mark_is_no_part_of_a_configuration(empty: CommandLine) -> None:
    empty.file("gpuledger.toml", b'\xef\xbb\xbfcurrency = "EUR"\n')

    assert empty.run("prices", "list").done()


@pytest.mark.parametrize("command", ["collect", "rate", "watch"])
def test_without_a_cluster_there_is_nothing_to_do(empty: CommandLine, command: str) -> None:
    span = ("--start", "2025-11-03", "--end", "2025-11-04")
    arguments = () if command == "watch" else span

    empty.run(command, *arguments).refused("No cluster is configured", "Add [[clusters]]")


def test_the_doctor_says_of_each_part_what_is_wrong(empty: CommandLine) -> None:
    empty.file("not-a-kubeconfig", "just: text\n- and more")
    empty.file("passwd", "root:x:0:0:root:/root:/bin/bash\n")
    tls = '{ url = "https://127.0.0.1:9", ca_file = "/there/is/no.pem" }'
    token = f'{{ url = "{PROMETHEUS}", bearer_token_env = "NO_SUCH_TOKEN" }}'
    with prometheus_of(a_fleet()) as served:
        empty.file(
            "gpuledger.toml",
            configuration(
                cluster(
                    "a", PROMETHEUS, '{ mode = "kubeconfig", kubeconfig = "not-a-kubeconfig" }'
                ),
                cluster("b", served.url, '{ mode = "kubeconfig", kubeconfig = "passwd" }'),
                cluster("c", served.url, '{ mode = "url", url = "http://127.0.0.1:9" }'),
                cluster("d", served.url, '{ mode = "in-cluster" }'),
                block("e", tls),
                block("f", token),
            ),
        )

        ended = empty.run("doctor")

    found = dict(line.split(": ", 1) for line in ended.out.splitlines())
    assert ended.code == 1
    assert found["ok     database"] == "reachable and at this version"
    assert "Connection refused" in found["failed a Prometheus"]
    assert found["ok     b Prometheus"] == "answers as prometheus"
    assert "cannot be set up" in found["failed a Kubernetes"]
    assert "is of another shape" in found["failed b Kubernetes"]
    assert "Connection refused" in found["failed c Kubernetes"]
    assert "cannot be set up" in found["failed d Kubernetes"]
    assert "/there/is/no.pem" in found["failed e Prometheus"]
    assert "The environment variable NO_SUCH_TOKEN is not set" in found["failed f Prometheus"]
    assert all("Max retries" not in text and ".." not in text for text in found.values())
