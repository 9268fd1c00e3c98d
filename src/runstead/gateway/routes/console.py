"""The console: web pages built into the package. Open to all callers, since they contain no data: they call the API.

The sources are in the folder ``console`` of the repository; ``make console`` builds them.
"""

import asyncio
import gzip
import mimetypes
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

import runstead
from runstead.wire.errors import NotFound

from ..dependencies import answer

router = APIRouter(prefix="/console", include_in_schema=False)

FOLDER: Final = Path(runstead.__file__).parent / "console"
_PAGE: Final = "index.html"
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src {sources}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "vary": "accept-encoding",
    "x-content-type-options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class ConsoleLogin:
    """Login of the console at an OIDC issuer, as a public client."""

    issuer: str
    client_id: str
    scope: str

    @property
    def origin(self) -> str:
        """The only other origin that the pages may send requests to."""
        parts = urlsplit(self.issuer)
        return f"{parts.scheme}://{parts.netloc}"


@router.get("")
async def redirect_to_page() -> Response:
    # Relative, so that it holds behind a proxy that removes a prefix.
    return RedirectResponse("console/")


@router.get("/login.json")
async def get_login(request: Request) -> Response:
    """The login of users at the issuer; null where they log in with keys or tokens alone."""
    login: ConsoleLogin | None = request.app.state.console_login
    return answer({"oidc": None if login is None else asdict(login)}, headers={**_HEADERS, "cache-control": "no-cache"})


@router.get("/{name:path}")
async def get_file(name: str, request: Request) -> Response:
    """A file of the console; the page itself for the empty name."""
    name = name or _PAGE
    is_compressed = "gzip" in request.headers.get("accept-encoding", "")
    if (content := await asyncio.to_thread(_read, name, is_compressed)) is None:
        raise NotFound(f"The console has no file {name[:200]!r}; its page is at console/")
    # Names of assets contain a digest of their content.
    lasting = "no-cache" if name == _PAGE else "public, max-age=31536000, immutable"
    login: ConsoleLogin | None = request.app.state.console_login
    sources = "'self'" if login is None else f"'self' {login.origin}"
    policy = {"content-security-policy": _POLICY.format(sources=sources)}
    headers = {**_HEADERS, **policy, "cache-control": lasting}
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    encoding = {"content-encoding": "gzip"} if is_compressed else {}
    return Response(content, headers={**headers, **encoding}, media_type=kind)


def wants_console(request: Request) -> bool:
    """Return whether a browser asks for the root of a server that has a console."""
    return request.app.state.has_console and "text/html" in request.headers.get("accept", "")


def console_address(request: Request) -> str:
    """Return the console's address, relative to the root that was requested."""
    prefix: str = request.app.state.mount_prefix or ""
    is_inside = request.scope.get("root_path", "").endswith(prefix)
    return "console/" if is_inside else f"{prefix.removeprefix('/')}/console/"


def _read(name: str, is_compressed: bool) -> bytes | None:
    """Return the content of a file; None if there is none of this name. Blocks."""
    # Only names that exist are opened, so that none leads out of the folder.
    files = {file.relative_to(FOLDER).as_posix(): file for file in FOLDER.rglob("*") if file.is_file()}
    if (file := files.get(name)) is None:
        return None
    return _compressed(file, file.stat().st_mtime_ns) if is_compressed else file.read_bytes()


@lru_cache(maxsize=128)
def _compressed(file: Path, _changed_at: int) -> bytes:
    return gzip.compress(file.read_bytes(), mtime=0)
