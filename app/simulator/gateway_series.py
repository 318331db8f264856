"""A gateway in front of the services of one or more clusters: who sent how many tokens.

It counts a request when its answer is complete; what fails or is aborted, and what went past the
gateway, it does not count. LiteLLM names a missing identity ``None`` and its models with a prefix;
Envoy AI Gateway leaves a missing identity out and says the model in lower case.
Sources: litellm integrations/prometheus.py, envoyproxy/ai-gateway internal/metrics.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from app.simulator.dice import dice, uid
from app.simulator.fleet import Fleet
from app.simulator.pods import Service
from app.simulator.scrapes import scrape_attempts
from app.simulator.series import Float64s, Int64s, Series, between, series
from app.simulator.spec import MINUTE_MS, OPEN_MS, FleetSpec
from app.simulator.traffic import REASONS, Requests

Mask = npt.NDArray[np.bool_]

LITELLM, ENVOY = "litellm", "envoy"
_COMPLETE = (REASONS.index("stop"), REASONS.index("length"))
_LITELLM_TOKENS = {
    "litellm_input_tokens_metric": "prompt",
    "litellm_output_tokens_metric": "generation",
    "litellm_total_tokens_metric": "total",
    "litellm_input_cached_tokens_metric": "cached",
    "litellm_requests_metric": "requests",
}
_ENVOY_TOKENS = {"input": "prompt", "output": "generation", "cached_input": "cached"}
_ENVOY_BASE = "gen_ai_client_token_usage"
_ENVOY_BOUNDS = (1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0)
LITELLM_FAMILIES = tuple(
    f"{name}_{part}" for name in _LITELLM_TOKENS for part in ("total", "created")
)
ENVOY_FAMILIES = tuple(f"{_ENVOY_BASE}_{part}" for part in ("bucket", "sum", "count", "created"))
# What is asked of other providers: model, how the gateway calls it, requests a second.
_ELSEWHERE = (
    ("gpt-4o", "openai/gpt-4o", 0.3),
    ("claude-sonnet-4", "anthropic/claude-sonnet-4", 0.2),
)


@dataclass(frozen=True, slots=True, order=True)
class Consumer:
    """Who sent a request; either name is empty where nobody said it."""

    team: str
    key_alias: str


CONSUMERS = (
    Consumer("search", "search-web"),
    Consumer("search", "search-batch"),
    Consumer("ml", "ml-evals"),
    Consumer("ads", "ads-copy"),
    Consumer("", "support-bot"),
    Consumer("", ""),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerTokens:
    """What a consumer had of a service; cached tokens are part of the prompt's."""

    requests: int = 0
    prompt_tokens: int = 0
    cached_prompt_tokens: int = 0
    generation_tokens: int = 0


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """A consumer at a service of a cluster; of a model that runs elsewhere both are empty."""

    cluster: str
    namespace: str
    service: str
    model: str
    consumer: Consumer


@dataclass(slots=True)
class _Counted:
    """Requests of one line by the instant at which the gateway counted them."""

    at_ms: Int64s
    prompt: Int64s
    cached: Int64s
    generation: Int64s

    def of(self, what: str) -> Int64s:
        """Return the amounts that a counter adds."""
        match what:
            case "prompt":
                return self.prompt
            case "cached":
                return self.cached
            case "generation":
                return self.generation
            case "requests":
                return np.ones(len(self.at_ms), dtype=np.int64)
            case _:
                return self.prompt + self.generation

    def plus(self, other: "_Counted") -> "_Counted":
        """Return both, in the order of time."""
        at_ms = np.concatenate([self.at_ms, other.at_ms])
        order = np.argsort(at_ms, kind="stable")
        return _Counted(
            at_ms[order],
            np.concatenate([self.prompt, other.prompt])[order],
            np.concatenate([self.cached, other.cached])[order],
            np.concatenate([self.generation, other.generation])[order],
        )


@dataclass(slots=True)
class GatewaySeries:
    """A gateway of one ``style`` in front of ``fleets``, which have the names of clusters.

    Its own metrics are scraped in ``home``. ``past`` is the share of requests that go past it. It
    is restarted once, in the middle: its counters begin again.
    """

    home: str
    fleets: Mapping[str, Fleet]
    style: str = LITELLM
    past: float = 0.03
    elsewhere: bool = True
    _lines: dict[Line, _Counted] = field(default_factory=dict)

    @property
    def families(self) -> tuple[str, ...]:
        """The names of what it exposes."""
        return LITELLM_FAMILIES if self.style == LITELLM else ENVOY_FAMILIES

    def tokens(self, start_ms: int, end_ms: int) -> dict[Line, ConsumerTokens]:
        """Return what was counted in ``[start_ms, end_ms)``, seen by a scrape or not."""
        found = {}
        for line, counted in sorted(self._counted().items()):
            low, high = np.searchsorted(counted.at_ms, [start_ms, end_ms])
            if low < high:
                found[line] = ConsumerTokens(
                    requests=int(high - low),
                    prompt_tokens=int(counted.prompt[low:high].sum()),
                    cached_prompt_tokens=int(counted.cached[low:high].sum()),
                    generation_tokens=int(counted.generation[low:high].sum()),
                )
        return found

    def family(self, name: str) -> Iterator[Series]:
        """Yield the series of one family: one for a consumer and a model, whoever served it."""
        spec = self._spec
        times = scrape_attempts(spec, f"gateway-{self.style}")
        for (consumer, model), counted in sorted(self._by_model().items()):
            if self.style == LITELLM:
                yield self._litellm(name, consumer, model, counted, times)
            else:
                yield from self._envoy(name, consumer, model, counted, times)

    @property
    def _spec(self) -> FleetSpec:
        return self.fleets[self.home].spec

    def _restart_ms(self) -> int:
        return (self._spec.start_ms + self._spec.end_ms) // 2 + 7_000

    def _counted(self) -> dict[Line, _Counted]:
        if not self._lines:
            for cluster, fleet in self.fleets.items():
                self._ask_services(cluster, fleet)
            if self.elsewhere:
                self._ask_elsewhere()
        return self._lines

    def _ask_services(self, cluster: str, fleet: Fleet) -> None:
        for pod in fleet.pods:
            if pod.service is None:
                continue
            for _, _, sent in fleet.truth.requests(pod.uid):
                complete = np.isin(sent.reason, _COMPLETE) & (sent.finish_ms < OPEN_MS)
                self._share_out(cluster, pod.service, pod.uid, _counted_of(sent, complete))

    def _share_out(self, cluster: str, service: Service, key: str, counted: _Counted) -> None:
        """Say of each request who sent it; the service's own team sends most."""
        draw = dice(self._spec.seed, "consumers", key, str(len(counted.at_ms)))
        weights = np.array([3.0 if one.team == service.team else 1.0 for one in CONSUMERS])
        who = draw.choice(len(CONSUMERS), len(counted.at_ms), p=weights / weights.sum())
        through = draw.random(len(counted.at_ms)) >= self.past
        for number, consumer in enumerate(CONSUMERS):
            line = Line(cluster, service.namespace, service.name, service.model, consumer)
            self._add(line, _where(counted, through & (who == number)))

    def _ask_elsewhere(self) -> None:
        spec = self._spec
        for model, _, rate in _ELSEWHERE:
            draw = dice(spec.seed, "elsewhere", model)
            count = int(draw.poisson(rate * (spec.closes_ms - spec.opens_ms) / 1000))
            at_ms = np.sort(draw.integers(spec.opens_ms, spec.closes_ms, count))
            prompt = draw.integers(10, 4_000, count)
            asked = _Counted(at_ms, prompt, prompt // 3, draw.integers(1, 900, count))
            who = draw.integers(0, len(CONSUMERS), count)
            for number, consumer in enumerate(CONSUMERS):
                self._add(Line("", "", "", model, consumer), _where(asked, who == number))

    def _add(self, line: Line, counted: _Counted) -> None:
        if len(counted.at_ms):
            before = self._lines.get(line)
            self._lines[line] = counted if before is None else before.plus(counted)

    def _by_model(self) -> dict[tuple[Consumer, str], _Counted]:
        found: dict[tuple[Consumer, str], _Counted] = {}
        for line, counted in self._counted().items():
            key = (line.consumer, line.model)
            found[key] = found[key].plus(counted) if key in found else counted
        return found

    def _lives(self, times: Int64s) -> list[tuple[int, Int64s]]:
        """Return the gateway's processes: when each began, and its scrapes."""
        restart = self._restart_ms()
        born = self._spec.opens_ms - 90 * MINUTE_MS
        return [(born, between(times, 0, restart)), (restart, between(times, restart, OPEN_MS))]

    def _values(self, counted: _Counted, amounts: Int64s, times: Int64s) -> Float64s:
        """Return a counter at each scrape; it begins again with the process."""
        restart = self._restart_ms()
        sums = np.concatenate([[0], np.cumsum(amounts)])
        value = sums[np.searchsorted(counted.at_ms, times, side="right")].astype(np.float64)
        earlier = float(sums[np.searchsorted(counted.at_ms, restart, side="left")])
        return value - np.where(times >= restart, earlier, 0.0)

    def _seen(self, counted: _Counted, times: Int64s) -> Int64s:
        """Return the scrapes in which a series is there: it comes with its first request."""
        parts = []
        for began, life in self._lives(times):
            first = counted.at_ms[np.searchsorted(counted.at_ms, began, side="left") :]
            parts.append(between(life, int(first[0]) if len(first) else OPEN_MS, OPEN_MS))
        return np.concatenate(parts)

    def _created(self, counted: _Counted, times: Int64s) -> Float64s:
        """Return in seconds when a series was made: with the first request of its process."""
        restart = self._restart_ms()
        again = int(np.searchsorted(counted.at_ms, restart, side="left"))
        first = counted.at_ms[0] / 1000 if len(counted.at_ms) else 0.0
        second = counted.at_ms[again] / 1000 if again < len(counted.at_ms) else first
        return np.where(times >= restart, second, first)

    def _litellm(
        self, name: str, consumer: Consumer, model: str, counted: _Counted, times: Int64s
    ) -> Series:
        said, provider = _litellm_model(model)
        labels = {
            **_target("litellm"),
            "api_key_alias": consumer.key_alias or "None",
            "api_provider": provider,
            "end_user": "None",
            "hashed_api_key": uid(0, "key", consumer.key_alias).replace("-", ""),
            "model": said,
            "model_id": uid(0, "model", model).replace("-", ""),
            "requested_model": model.rsplit("/", 1)[-1].lower(),
            "team": uid(0, "team", consumer.team) if consumer.team else "None",
            "team_alias": consumer.team or "None",
            "user": "default_user_id",
            "user_email": "None",
        }
        base, part = name.rsplit("_", 1)
        seen = self._seen(counted, times)
        if part == "created":
            return series(labels, seen, self._created(counted, seen))
        return series(labels, seen, self._values(counted, counted.of(_LITELLM_TOKENS[base]), seen))

    def _envoy(
        self, name: str, consumer: Consumer, model: str, counted: _Counted, times: Int64s
    ) -> Iterator[Series]:
        seen = self._seen(counted, times)
        part = name.removeprefix(f"{_ENVOY_BASE}_")
        for kind, what in _ENVOY_TOKENS.items():
            labels = {
                **_target("ai-gateway-extproc"),
                "gen_ai_operation_name": "chat",
                "gen_ai_original_model": model.lower(),
                "gen_ai_request_model": model.lower(),
                "gen_ai_response_model": model,
                "gen_ai_provider_name": "openai",
                "gen_ai_token_type": kind,
                "otel_scope_name": "envoyproxy/ai-gateway",
                "team_id": consumer.team,
                "key_alias": consumer.key_alias,
            }
            amounts = counted.of(what)
            one = np.ones(len(amounts), dtype=np.int64)
            if part == "sum":
                yield series(labels, seen, self._values(counted, amounts, seen))
            elif part == "count":
                yield series(labels, seen, self._values(counted, one, seen))
            elif part == "created":
                yield series(labels, seen, self._created(counted, seen))
            else:
                for bound in (*_ENVOY_BOUNDS, float("inf")):
                    below = (amounts <= bound).astype(np.int64)
                    le = "+Inf" if bound == float("inf") else str(bound)
                    yield series({**labels, "le": le}, seen, self._values(counted, below, seen))


def _counted_of(sent: Requests, complete: Mask) -> _Counted:
    """Return the requests that were answered, in the order in which they were."""
    order = np.argsort(sent.finish_ms[complete], kind="stable")
    return _Counted(
        sent.finish_ms[complete][order],
        sent.prompt_tokens[complete][order],
        sent.cached_tokens[complete][order],
        sent.generation_tokens[complete][order],
    )


def _where(counted: _Counted, mask: Mask) -> _Counted:
    return _Counted(
        counted.at_ms[mask], counted.prompt[mask], counted.cached[mask], counted.generation[mask]
    )


def _litellm_model(model: str) -> tuple[str, str]:
    """Return how LiteLLM calls a model, and who serves it."""
    for name, said, _ in _ELSEWHERE:
        if name == model:
            return said, said.split("/", 1)[0]
    return f"hosted_vllm/{model}", "hosted_vllm"


def _target(job: str) -> dict[str, str]:
    return {
        "job": job,
        "instance": "10.0.0.251:4000",
        "endpoint": "http",
        "container": job,
        "namespace": "ai-gateway",
        "pod": f"{job}-0",
    }
