"""Routes about the server itself: liveness, readiness, version. Open to all callers, and without user data."""

from importlib.metadata import version

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from runstead.version import __version__
from runstead.wire.errors import Unavailable

from ..dependencies import ServicesDep, answer
from ..openapi import responses
from ..openapi.page import page_of
from ..route_declaration import declare
from .console import console_address, wants_console

router = APIRouter(tags=["meta"])
bare = APIRouter(tags=["meta"])
"""Reduced router for http.disable_meta of langgraph.json."""


@bare.get("/ok")
@bare.get("/", include_in_schema=False)
@declare(responses=responses.OK)
async def alive() -> Response:
    return answer({"ok": True, "services": {}})


@router.get("/", include_in_schema=False)
async def root(request: Request, services: ServicesDep, check_db: bool = False) -> Response:
    """Responds like ``/ok``, and sends browsers to the console."""
    if wants_console(request):
        return RedirectResponse(console_address(request), headers={"vary": "accept"})
    return await ok(services, check_db)


@router.get("/ok")
@declare(responses=responses.OK)
async def ok(services: ServicesDep, check_db: bool = False) -> Response:
    """Responds if the process is alive; with ``check_db``, if its storage is available too."""
    if check_db and (reason := await services.ready()) is not None:
        raise Unavailable(reason)
    return answer({"ok": True, "services": {}})


@router.get("/ready")
@bare.get("/ready")
@declare(responses=responses.READY)
async def ready(services: ServicesDep) -> Response:
    """Responds with 200 if the server accepts work: started, storage available, not stopping."""
    if (reason := await services.ready()) is not None:
        raise Unavailable(reason)
    return answer({"ready": True})


@router.get("/info")
@declare(responses=responses.INFO)
async def info(services: ServicesDep) -> Response:
    """Versions, supported features, and the number of times that user code has blocked its event loop in this
    process."""
    return answer(
        {
            "version": __version__,
            "langgraph_py_version": version("langgraph"),
            "flags": {
                "assistants": True,
                "crons": True,
                "langsmith": False,
                "strict_resume": True,
                "stream_namespaces": True,
            },
            "host": {"kind": "self-hosted", "project_id": None, "host_revision_id": None, "revision_id": None},
            "user_code": {"blocks": services.blocks.blocks, "blocked_seconds": round(services.blocks.seconds, 3)},
        }
    )


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    """API documentation as a page without external resources."""
    return Response(page_of(request.app.openapi()), media_type="text/html")
