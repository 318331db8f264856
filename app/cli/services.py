"""Commands that run until stopped: the API and the worker."""

import threading
from typing import Annotated

import typer

from app.cli import arguments
from app.cli.output import status_console
from app.store.migrating import require_head
from app.telemetry import log_to_standard_error
from app.wiring import Ledger

# Between attempts to become the one watcher of a cluster.
_WATCHER_PAUSE_SECONDS = 15.0
# A watcher looks several times a second whether it should end; a list at hand takes longer.
_WATCHER_END_SECONDS = 10.0


def serve(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535)] = 8080,
) -> None:
    """Serve the API and the dashboard."""
    log_to_standard_error()
    ledger = arguments.ledger()
    _require_upgraded(ledger)
    serve_ledger(ledger, host=host, port=port)


def serve_ledger(ledger: Ledger, *, host: str, port: int) -> None:
    """Serve one ledger until a signal ends it."""
    # A web framework is more than most commands should wait for.
    import uvicorn  # noqa: PLC0415 see above

    from app.web.application import create_app  # noqa: PLC0415 see above
    from app.web.stored import dependencies_of  # noqa: PLC0415 see above

    uvicorn.run(
        create_app(dependencies_of(ledger)),
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
    )


def worker(
    once: Annotated[
        bool, typer.Option("--once", help="Do the queued work and end; nothing is watched.")
    ] = False,
) -> None:
    """Watch, collect, rate, detect, notify and report; run as many as you like."""
    # The queue's client is more than most commands should wait for.
    from app.jobs import build_app, run_worker  # noqa: PLC0415 see above

    log_to_standard_error()
    ledger = arguments.ledger()
    _require_upgraded(ledger)
    stopped = threading.Event()
    watchers = [] if once else _watchers(ledger, stopped)
    status_console().print("The worker runs.")
    try:
        # It ends on SIGTERM and SIGINT, once the job at hand is done.
        run_worker(build_app(ledger), wait=not once)
    finally:
        stopped.set()
        for watcher in watchers:
            watcher.join(timeout=_WATCHER_END_SECONDS)


def _watchers(ledger: Ledger, stopped: threading.Event) -> list[threading.Thread]:
    """Start a thread for every cluster with a Kubernetes API."""
    watchers = [
        threading.Thread(
            target=_keep_watching,
            args=(ledger, cluster.name, stopped),
            name=f"watch-{cluster.name}",
            daemon=True,
        )
        for cluster in ledger.settings.clusters
        if cluster.kubernetes.mode != "off"
    ]
    for watcher in watchers:
        watcher.start()
    return watchers


def _keep_watching(ledger: Ledger, cluster: str, stopped: threading.Event) -> None:
    """Watch a cluster whenever no other process does, until stopped."""
    while not stopped.is_set():
        ledger.watch_if_nobody_does(cluster, clock=arguments.now_ms, stop=stopped.is_set)
        stopped.wait(_WATCHER_PAUSE_SECONDS)


def _require_upgraded(ledger: Ledger) -> None:
    with ledger.engine.connect() as connection:
        require_head(connection)
