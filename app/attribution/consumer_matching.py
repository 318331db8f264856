"""Which services served the tokens of a gateway's route: by model, and by what it tells more."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from app.usage.consumers import GatewayRoute
from app.usage.models import ModelTable


class MatchScope(IntEnum):
    """How surely tokens are a service's: the gateway named it, or every service of the model."""

    SERVICE = 1
    MODEL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingDay:
    """A service on a day: its prompt and generation tokens by served model, None if not counted."""

    workload_id: int
    cluster: str
    namespace: str
    name: str
    tokens: tuple[tuple[str, int | None], ...]


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """Where tokens went: the services, ordered; under which name the weights are looked up."""

    services: tuple[int, ...]
    model: str
    scope: MatchScope


class RouteMatcher:
    """Finds the services of a route; equal routes are looked up once."""

    def __init__(self, services: Sequence[ServingDay], table: ModelTable) -> None:
        self._table = table
        self._services = sorted(services, key=lambda service: service.workload_id)
        self._models = {model for one in services for model, _ in one.tokens if model}
        self._known: dict[GatewayRoute, RouteMatch | None] = {}

    def match(self, route: GatewayRoute) -> RouteMatch | None:
        """Return the services that served a route's tokens, None if none is run here."""
        if route not in self._known:
            self._known[route] = self._find(route)
        return self._known[route]

    def _find(self, route: GatewayRoute) -> RouteMatch | None:
        # Where a gateway fell back on a model elsewhere, the name that was asked for says nothing.
        name = route.target_model or route.model
        match = self._table.resolve(name, self._models) if name else None
        if match is None:
            return self._of_backend(route)
        of_model = [one for one in self._services if self._counted(one, match.name)]
        narrowed, is_named = _narrowed(of_model, route)
        # What counted not one token of the model served none of these.
        busy = [one for one in narrowed if any(n != 0 for n in self._counted(one, match.name))]
        narrowed = busy or narrowed
        return RouteMatch(
            services=tuple(one.workload_id for one in narrowed),
            model=match.name,
            scope=MatchScope.SERVICE if is_named and len(narrowed) == 1 else MatchScope.MODEL,
        )

    def _of_backend(self, route: GatewayRoute) -> RouteMatch | None:
        """Return the services that the gateway names, whatever it calls their model."""
        named = [
            one
            for one in self._services
            if route.backend
            and (one.name, one.namespace) == (route.backend, route.backend_namespace)
            and route.cluster in ("", one.cluster)
        ]
        if not named:
            return None
        models = {model for one in named for model, _ in one.tokens}
        model = models.pop() if len(models) == 1 else ""
        scope = MatchScope.SERVICE if len(named) == 1 else MatchScope.MODEL
        return RouteMatch(tuple(one.workload_id for one in named), model, scope)

    def _counted(self, service: ServingDay, model: str) -> list[int | None]:
        """Return what a service counted under each name of a model, nothing if it has none."""
        wanted = self._table.canonical(model)
        return [count for name, count in service.tokens if self._table.canonical(name) == wanted]


def _narrowed(services: list[ServingDay], route: GatewayRoute) -> tuple[list[ServingDay], bool]:
    """Return those of the services that the gateway means, and whether it named any.

    A name that fits none of them says nothing.
    """
    named = False
    for wanted, field_name in (
        (route.cluster, "cluster"),
        (route.backend_namespace, "namespace"),
        (route.backend, "name"),
    ):
        fitting = [one for one in services if wanted and getattr(one, field_name) == wanted]
        services, named = fitting or services, named or bool(fitting)
    return services, named
