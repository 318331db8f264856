"""Who asks: API keys, their scope, and the one team a key may be restricted to."""

import hashlib
import re
import secrets
from collections.abc import Callable, Iterator
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.web.problems import AuthenticationError, ForbiddenError
from app.web.reading import ApiKey, Dependencies, Ledger, Scope

_SECRET = re.compile(r"glk_[A-Za-z0-9_-]{20,100}", re.ASCII)
_bearer = HTTPBearer(
    auto_error=False,
    description="An API key, as `gpuledger keys create` prints it once: `glk_…`.",
)


def dependencies(request: Request) -> Dependencies:
    """Return what the application was built from."""
    found: Dependencies = request.app.state.dependencies
    return found


def open_ledger(deps: Annotated[Dependencies, Depends(dependencies)]) -> Iterator[Ledger]:
    """Give the request its ledger: committed if the route returns, rolled back if it raises."""
    with deps.open_ledger() as ledger:
        yield ledger


# Ends before the answer is sent: an answer must not promise what a failed commit takes back.
RequestLedger = Annotated[Ledger, Depends(open_ledger, scope="function")]


def new_secret() -> str:
    """Return the secret of a new key; it is shown once and stored only as its hash."""
    return f"glk_{secrets.token_urlsafe(32)}"


def secret_sha256(secret: str) -> str:
    """Return the hash under which a key's secret is stored.

    Plain SHA-256 is enough for secrets of 256 random bits: there is nothing to guess.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


def _key_with(scope: Scope) -> Callable[..., ApiKey]:
    def key(
        ledger: RequestLedger,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    ) -> ApiKey:
        hint = "Send `Authorization: Bearer glk_…`; `gpuledger keys create` makes a key."
        if credentials is None:
            message = "The request has no API key."
            raise AuthenticationError(message, hint=hint)
        secret = credentials.credentials
        found = ledger.api_key(secret_sha256(secret)) if _SECRET.fullmatch(secret) else None
        if found is None:
            message = "The API key is unknown or revoked."
            raise AuthenticationError(message, hint=hint)
        if not found.scope.includes(scope):
            message = f"The API key {found.name!r} has the scope {found.scope.value}."
            raise ForbiddenError(message, hint=f"This needs a key with the scope {scope.value}.")
        return found

    return key


Reader = Annotated[ApiKey, Depends(_key_with(Scope.READ))]
Writer = Annotated[ApiKey, Depends(_key_with(Scope.WRITE))]
Admin = Annotated[ApiKey, Depends(_key_with(Scope.ADMIN))]


def within_team(
    filters: tuple[tuple[str, tuple[str, ...]], ...], key: ApiKey
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return ``filters`` narrowed to the key's team; refuse a question about another team."""
    if not key.team:
        return filters
    asked = dict(filters)
    if any(team != key.team for team in asked.get("team", ())):
        message = f"The API key {key.name!r} sees the team {key.team} only."
        raise ForbiddenError(message, hint="Leave out the filter, or use a key without a team.")
    return tuple(sorted((asked | {"team": (key.team,)}).items()))
