"""Commands that run until stopped: the API and the worker."""

import logging
import socket
import threading
from contextlib import suppress
from typing import Annotated

import typer

from app.cli import arguments
from app.cli.output import status_console
from app.errors import InputError
from app.store.migrating import require_head
from app.telemetry import log_to_standard_error
from app.wiring import Ledger

log = logging.getLogger(__name__)

# Between attempts to become the one watcher of a cluster.
_WATCHER_PAUSE_SECONDS = 15.0
# A watcher looks several times a second whether it should end; a list at hand takes longer.
_WATCHER_END_SECONDS = 10.0


class ListenError(InputError):
    """An address that cannot be listened on."""


def serve(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535)] = 8080,
) -> None:
    """Serve the API and the dashboard."""
    log_to_standard_error()
    ledger = arguments.ledger()
    _require_upgraded(ledger)
    listener = listen(host, port)
    where = f"[{host}]" if ":" in host else host
    address = f"http://{where}:{listener.getsockname()[1]}"
    status_console().print(f"Serving on {address}. Ctrl+C ends it.", markup=False)
    serve_ledger(ledger, listener)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; refuse an address that is taken or not of this host."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        message = f"Nothing can listen on {host}, port {port}: {error.strerror}."
        raise ListenError(message, hint="Choose another --host or --port.") from error


def serve_ledger(ledger: Ledger, listener: socket.socket) -> None:
    """Serve one ledger until a signal ends it."""
    # A web framework is more than most commands should wait for.
    import uvicorn  # noqa: PLC0415 see above

    from app.web.application import create_app  # noqa: PLC0415 see above
    from app.web.stored import dependencies_of  # noqa: PLC0415 see above

    config = uvicorn.Config(
        create_app(dependencies_of(ledger)),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
    )
    # The server raises an interrupt again once everything is shut down.
    with listener, suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def worker(
    once: Annotated[
        bool, typer.Option("--once", help="Do what is due and end; nothing is watched.")
    ] = False,
) -> None:
    """Watch, collect, rate, detect, notify and report; run as many as you like."""
    # The queue's client is more than most commands should wait for.
    from app.jobs import build_app, queue_due, run_worker  # noqa: PLC0415 see above

    log_to_standard_error()
    ledger = arguments.ledger()
    _require_upgraded(ledger)
    stopped = threading.Event()
    watchers = [] if once else _watchers(ledger, stopped)
    if not ledger.settings.clusters:
        note = "Note: no cluster is configured, so nothing is watched or collected."
        status_console().print(note, style="yellow")
    status_console().print("The worker runs.")
    app = build_app(ledger)
    if once:
        # The periodic ticks may come after the queue was found empty.
        queue_due(app, arguments.now())
    try:
        # It ends on SIGTERM and SIGINT, once the job at hand is done.
        run_worker(app, wait=not once)
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
        try:
            ledger.watch_if_nobody_does(cluster, clock=arguments.now_ms, stop=stopped.is_set)
        except Exception:
            # A worker that goes on without its watch would only show in tomorrow's gaps.
            log.exception("The watch of %s failed and is begun again.", cluster)
        stopped.wait(_WATCHER_PAUSE_SECONDS)


def _require_upgraded(ledger: Ledger) -> None:
    with ledger.engine.connect() as connection:
        require_head(connection)
