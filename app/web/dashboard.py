"""The dashboard: one page and its two files, from this host alone."""

from pathlib import Path

from fastapi import APIRouter, Response

router = APIRouter(include_in_schema=False)
_FILES = Path(__file__).parent / "static"
_TYPES = {
    "dashboard.html": "text/html; charset=utf-8",
    "dashboard.css": "text/css; charset=utf-8",
    "dashboard.js": "text/javascript; charset=utf-8",
}
# The page loads nothing from elsewhere and runs nothing that is written into it.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@router.get("/")
def page() -> Response:
    """Return the page; it asks for an API key and reads the interface with it."""
    return _file("dashboard.html")


@router.get("/dashboard.css")
def style() -> Response:
    """Return the page's style."""
    return _file("dashboard.css")


@router.get("/dashboard.js")
def script() -> Response:
    """Return the page's script."""
    return _file("dashboard.js")


def _file(name: str) -> Response:
    return Response(
        (_FILES / name).read_bytes(),
        media_type=_TYPES[name],
        headers={"Cache-Control": "no-cache", "Content-Security-Policy": CONTENT_SECURITY_POLICY},
    )
