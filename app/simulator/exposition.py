"""Every family that the fleet's targets expose, as Prometheus stores it."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from app.simulator.accelerator_series import ACCELERATOR_FAMILIES, AcceleratorSeries
from app.simulator.dcgm_series import DCGM_FAMILIES, DcgmSeries, exporter_target
from app.simulator.fleet import Fleet
from app.simulator.gateway_series import GatewaySeries
from app.simulator.kube_state_series import (
    KUBE_STATE_FAMILIES,
    SHARED_KUBE_STATE_FAMILIES,
    KubeStateSeries,
    kube_state_target,
)
from app.simulator.scrapes import KUBE_STATE_METRICS, outside
from app.simulator.series import Int64s, ScrapeBook, Series, between, series, united
from app.simulator.spec import OPEN_MS
from app.simulator.vllm_series import VLLM_FAMILIES, VllmSeries, engine_target

UP = "up"
FAMILIES = (
    *DCGM_FAMILIES,
    *(name for name in KUBE_STATE_FAMILIES if name not in SHARED_KUBE_STATE_FAMILIES),
    *VLLM_FAMILIES,
    UP,
)


def families_of(fleet: Fleet) -> tuple[str, ...]:
    """Return the families that a fleet's targets expose, by their own names."""
    if not fleet.spec.modes:
        return FAMILIES
    return (*FAMILIES, *SHARED_KUBE_STATE_FAMILIES, *ACCELERATOR_FAMILIES)


# Changes a family on its way into Prometheus: drops it, doubles series, spoils values.
Transform = Callable[[str, tuple[Series, ...]], tuple[Series, ...]]


class Exposition:
    """The families of a fleet, each made once when it is asked for.

    ``renamed`` maps family names to the ones under which they are exposed instead. ``transform``
    gets each family under its own name and returns what is exposed of it. ``gateways`` are scraped
    beside the fleet's own targets.
    """

    def __init__(
        self,
        fleet: Fleet,
        *,
        renamed: Mapping[str, str] | None = None,
        transform: Transform | None = None,
        gateways: Sequence[GatewaySeries] = (),
    ) -> None:
        self.renamed = dict(renamed or {})
        self._transform = transform
        self._gateways = {name: one for one in gateways for name in one.families}
        known = (*families_of(fleet), *self._gateways)
        self._own_name = {self.renamed.get(name, name): name for name in known}
        self._fleet = fleet
        self._scrapes = ScrapeBook(fleet)
        self._dcgm = DcgmSeries(fleet, self._scrapes)
        self._kube_state = KubeStateSeries(fleet, self._scrapes)
        self._vllm = VllmSeries(fleet, self._scrapes)
        self._accelerators = AcceleratorSeries(fleet, self._scrapes)
        self._made: dict[str, tuple[Series, ...]] = {}

    def names(self) -> tuple[str, ...]:
        """Return the names of all families, as exposed."""
        return tuple(self._own_name)

    def family(self, name: str) -> tuple[Series, ...]:
        """Return the series of a family over the fleet's whole life; none if it is unknown."""
        own = self._own_name.get(name)
        if own is None:
            return ()
        if name not in self._made:
            made = tuple(made for made in self._make(own) if len(made.at_ms))
            if self._fleet.spec.modes:
                made = united(made)
            self._made[name] = self._transform(own, made) if self._transform else made
        return self._made[name]

    def _make(self, name: str) -> Iterator[Series]:
        if name in DCGM_FAMILIES:
            return self._dcgm.family(name)
        if name in KUBE_STATE_FAMILIES:
            return self._kube_state.family(name)
        if name in VLLM_FAMILIES:
            return self._vllm.family(name)
        if name in self._gateways:
            return self._gateways[name].family(name)
        if name in ACCELERATOR_FAMILIES:
            return self._accelerators.family(name)
        return self._up()

    def _up(self) -> Iterator[Series]:
        """Yield whether each attempt to scrape a target was answered."""
        fleet = self._fleet
        for copy, copy_labels in self._scrapes.copies():
            for node in fleet.nodes:
                if not node.mode.exports:
                    continue
                times = self._scrapes.attempts(node.name, copy)
                times = between(times, node.advertised_ms, node.deleted_ms)
                good = outside(times, fleet.outages, node.name)
                yield _up_series({**exporter_target(fleet, node), **copy_labels}, times, good)
            times = self._scrapes.attempts(KUBE_STATE_METRICS, copy)
            good = outside(times, fleet.outages, KUBE_STATE_METRICS)
            yield _up_series({**kube_state_target(), **copy_labels}, times, good)
            for pod in fleet.pods:
                if pod.service is None or pod.started_ms >= OPEN_MS:
                    continue
                times = self._scrapes.attempts(pod.uid, copy)
                times = between(times, pod.started_ms, pod.finished_ms)
                good = outside(times, fleet.outages, pod.name)
                serving = np.array(
                    [pod.serving_at(int(at)) is not None for at in times], dtype=bool
                )
                yield _up_series({**engine_target(pod), **copy_labels}, times, good & serving)


def _up_series(labels: dict[str, str], times: Int64s, good: npt.NDArray[np.bool_]) -> Series:
    return series(labels, times, good.astype(np.float64))
