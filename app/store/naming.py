"""Names of identities: saved beside the facts that use them, read as one mapping."""

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, Table, select
from sqlalchemy.dialects.postgresql import insert

from app.errors import InputError
from app.store.tables import names
from app.usage.identity import cluster_id, gpu_model_id, model_id, namespace_id, team_id


class UnknownClusterError(InputError):
    """A cluster that nothing was ever collected for."""


class NameStore:
    """Clusters, GPU models, namespaces, served models and teams by identity."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def ensure_cluster(self, name: str) -> int:
        """Save the cluster's name; return its identity."""
        self._save(names.CLUSTERS, {cluster_id(name): name})
        return cluster_id(name)

    def ensure_gpu_models(self, models: Iterable[str]) -> None:
        """Save the names of GPU models."""
        self._save(names.GPU_MODELS, {gpu_model_id(name): name for name in models if name})

    def ensure_namespaces(self, namespaces: Iterable[str]) -> None:
        """Save the names of namespaces."""
        self._save(names.NAMESPACES, {namespace_id(name): name for name in namespaces if name})

    def ensure_models(self, models: Iterable[str]) -> None:
        """Save the names of served models."""
        self._save(names.MODELS, {model_id(name): name for name in models if name})

    def ensure_team_names(self, teams: Iterable[str]) -> None:
        """Save teams by name alone; what is known of them stays."""
        rows = [
            {"team_id": team_id(name), "name": name, "cost_center": ""}
            for name in sorted(set(teams))
            if name
        ]
        if rows:
            self._connection.execute(
                insert(names.TEAMS).on_conflict_do_nothing(index_elements=["team_id"]), rows
            )

    def ensure_teams(self, cost_centers: Mapping[str, str]) -> None:
        """Save teams with their cost centers; a team that is known gets the given cost center."""
        rows = [
            {"team_id": team_id(name), "name": name, "cost_center": center}
            for name, center in sorted(cost_centers.items())
            if name
        ]
        if rows:
            statement = insert(names.TEAMS)
            self._connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["team_id"],
                    set_={"cost_center": statement.excluded.cost_center},
                    where=names.TEAMS.c.cost_center != statement.excluded.cost_center,
                ),
                rows,
            )

    def clusters(self) -> dict[int, str]:
        """Return every cluster's name by identity."""
        return self._all(names.CLUSTERS)

    def require_cluster(self, name: str) -> int:
        """Return the identity of a cluster that was collected before; refuse any other."""
        known = self.clusters()
        if cluster_id(name) not in known:
            message = f"There is no cluster named {name!r} in the ledger."
            raise UnknownClusterError(
                message, hint=f"Known are: {', '.join(sorted(known.values())) or 'none'}."
            )
        return cluster_id(name)

    def gpu_models(self) -> dict[int, str]:
        """Return every GPU model's name by identity."""
        return self._all(names.GPU_MODELS)

    def namespaces(self) -> dict[int, str]:
        """Return every namespace's name by identity."""
        return self._all(names.NAMESPACES)

    def models(self) -> dict[int, str]:
        """Return every served model's name by identity."""
        return self._all(names.MODELS)

    def teams(self) -> dict[int, str]:
        """Return every team's name by identity."""
        return self._all(names.TEAMS)

    def cost_centers(self) -> dict[int, str]:
        """Return every team's cost center by the team's identity."""
        table = names.TEAMS
        rows = self._connection.execute(select(table.c.team_id, table.c.cost_center))
        return {row.team_id: row.cost_center for row in rows}

    def _all(self, table: Table) -> dict[int, str]:
        key = next(iter(table.primary_key))
        return {row[0]: row[1] for row in self._connection.execute(select(key, table.c.name))}

    def _save(self, table: Table, wanted: Mapping[int, str]) -> None:
        fresh = wanted.keys() - self._all(table).keys() if wanted else set()
        if fresh:
            key = next(iter(table.primary_key)).name
            # The order keeps two writers from waiting for each other in a circle.
            rows = [{key: number, "name": wanted[number]} for number in sorted(fresh)]
            self._connection.execute(
                insert(table).on_conflict_do_nothing(index_elements=[key]), rows
            )
