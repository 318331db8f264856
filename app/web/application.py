"""Builds the HTTP application."""

from importlib.metadata import version

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.web import dashboard, problems
from app.web.reading import Dependencies
from app.web.routes import (
    adjustments,
    bills,
    charges,
    commitments,
    consumers,
    costs,
    coverage,
    exports,
    findings,
    health,
    inference,
    ownership,
    periods,
    planning,
    prices,
    reports,
    statements,
    teams,
)

# The largest body that a request of this interface can sensibly have is a reason of 500 characters,
# but for the files of prices.
_LARGEST_BODY_BYTES = 65_536
_LARGEST_BY_PATH = {"/v1/prices": prices.LARGEST_FILE_BYTES}


def create_app(deps: Dependencies) -> FastAPI:
    """Return the application; it opens nothing until the first request."""
    app = FastAPI(
        title="gpuledger",
        version=version("gpuledger"),
        description="Who held which GPU, what it cost, what it served, and what was wasted.",
        # The usual documentation pages load their scripts from foreign hosts.
        docs_url=None,
        redoc_url=None,
        # A redirect would name whatever host the request claims.
        redirect_slashes=False,
    )
    app.state.dependencies = deps
    for module in (
        costs,
        inference,
        consumers,
        commitments,
        prices,
        findings,
        charges,
        coverage,
        reports,
        exports,
        periods,
        statements,
        adjustments,
        bills,
        teams,
        ownership,
        planning,
        health,
        dashboard,
    ):
        app.include_router(module.router)
    problems.install(app)
    app.add_middleware(_Guard)
    # Kept by the framework; the problems are not of any route's making.
    app.openapi()["components"]["schemas"].update(problems.schemas())
    return app


class _Guard:
    """Adds the headers that keep browsers careful, and refuses bodies that nobody needs."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("X-Content-Type-Options", "nosniff")
                headers.setdefault("Referrer-Policy", "no-referrer")
            await send(message)

        if refusal := _refusal(Headers(scope=scope), scope["path"]):
            await refusal(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)


def _refusal(headers: Headers, path: str) -> Response | None:
    length = headers.get("content-length", "0")
    largest = _LARGEST_BY_PATH.get(path, _LARGEST_BODY_BYTES)
    small = length.isascii() and length.isdigit() and int(length) <= largest
    if small and "transfer-encoding" not in headers:
        return None
    return problems.too_large(path)
