"""HTTP application: routes and middleware. All components that it uses are passed in."""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from inspect import signature
from types import ModuleType
from typing import Any, Final, Literal, TypeAlias

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.middleware import Middleware
from starlette.responses import Response

from runstead.runtime.byte_budget import ByteBudget
from runstead.runtime.json_types import JsonMapping
from runstead.version import __version__
from runstead.wire.credentials import Authenticator
from runstead.wire.errors import Problem, Unprocessable, problem_of, sentence_of
from runstead.wire.remarks import HEADER as REMARKS

from .auth.audit import Audit
from .auth.authentication import CHECK_SECONDS, Authentication
from .auth.authorization import authorize
from .auth.failed_logins import RecordedLogins
from .auth.limits import Limits
from .auth.policy import OPEN_PATHS, PathTemplates
from .custom_app import Cors as CorsMiddleware
from .custom_app import CustomApp, CustomRoutes
from .dependencies import answer, checked_route
from .error_middleware import ErrorMiddleware, SocketErrorMiddleware
from .memory_guard import MemoryGuard
from .middleware import LoggedHeaders, MountPrefix
from .openapi.document import describe, joined, secured
from .page_guard import PageGuard, PagePolicy
from .remark_headers import RemarkHeaders
from .request_log import CountRequest, RequestLog, TraceRequest, no_trace
from .route_declaration import permissions_of
from .routes import (
    approvals,
    assistants,
    audit,
    channels,
    console,
    crons,
    events,
    feedback,
    files,
    items,
    keys,
    logouts,
    meta,
    metrics,
    operations,
    protocol,
    run_cancel,
    run_create,
    runs,
    states,
    steering,
    thread_stream,
    threads,
    usage,
    webhooks,
)
from .routes.console import ConsoleLogin
from .services import ServiceSource

Noun: TypeAlias = Literal["assistants", "threads", "runs", "store", "meta", "event_streaming"]

_ROUTES: Sequence[tuple[ModuleType, tuple[Noun, ...]]] = (
    (assistants, ("assistants",)),
    (threads, ("threads",)),
    (states, ("threads",)),
    (thread_stream, ("threads",)),
    (events, ("threads",)),
    (run_create, ("runs",)),
    (crons, ("runs",)),
    (run_cancel, ("runs",)),
    (runs, ("runs",)),
    # Follows threads, and creates runs.
    (protocol, ("threads", "runs", "event_streaming")),
    (webhooks, ("runs",)),
    (feedback, ("runs",)),
    # Follows threads, and creates runs.
    (approvals, ("threads", "runs")),
    (steering, ("runs",)),
    (files, ("threads",)),
    (items, ("store",)),
    (usage, ("runs",)),
    (operations, ()),
    (keys, ()),
    (channels, ()),
    (logouts, ()),
    (audit, ()),
)
"""Route modules, each with the resources that must be enabled for it."""

_WITHOUT_OWN_SPANS: Final[JsonMapping] = (
    {"telemetry": {"tracing": False, "metrics": False, "logs": False}}
    if "telemetry" in signature(FastAPI.__init__).parameters
    else {}
)
"""Options against the spans that newer versions of FastAPI write, beside those of `request_log`."""
EXPOSED_HEADERS = ("content-location", "location", "x-pagination-total", "x-pagination-next", REMARKS)
"""Response headers that browser clients need to find their run again; browsers hide all others."""


@dataclass(frozen=True, slots=True)
class Cors:
    """CORS options of Starlette's CORSMiddleware. By default, pages of any origin are allowed, as in the reference
    server."""

    allow_origins: Sequence[str] = ("*",)
    allow_methods: Sequence[str] = ("*",)
    allow_headers: Sequence[str] = ("*",)
    allow_credentials: bool = False
    allow_origin_regex: str | None = None
    allow_private_network: bool = False
    expose_headers: Sequence[str] = field(default_factory=tuple)
    max_age: int = 600


def _count_nothing(method: str, route: str | None, status: int, seconds: float) -> None:
    return


@dataclass(frozen=True, slots=True)
class ApiEnvironment:
    """Options of the application beyond its routes.

    ``custom`` returns the user's own app, once it has been loaded; ``security`` is the description of authentication
    for the API documentation; ``logged_headers`` decides which headers appear in log lines; ``pages`` decides which web
    pages may call, None disables that check; ``access_check_seconds`` is the interval at which callers are
    authenticated again during a request; ``memory`` limits the bytes of request and response bodies;
    ``count_request`` is called for each answered request, and ``trace_request`` around each; ``open_paths`` need no
    authentication; ``has_console``: the pages of the console are served, ``console_login`` is their login at an issuer.
    """

    mount_prefix: str | None = None
    custom: Callable[[], CustomApp | None] = field(default=lambda: None)
    security: JsonMapping | None = None
    logged_headers: Callable[[str], bool] | None = None
    pages: PagePolicy | None = None
    access_check_seconds: float = CHECK_SECONDS
    memory: ByteBudget = field(default_factory=ByteBudget)
    count_request: CountRequest = _count_nothing
    trace_request: TraceRequest = no_trace
    open_paths: Collection[str] = OPEN_PATHS
    has_console: bool = False
    console_login: ConsoleLogin | None = None


def create_api(
    source: ServiceSource,
    *,
    authenticator: Authenticator,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[Any]] | None = None,
    cors: Cors | None = None,
    disabled: Collection[Noun] = (),
    surroundings: ApiEnvironment | None = None,
) -> FastAPI:
    """Create the application for ``source``. ``lifespan`` starts and stops the services if the application is served on
    its own.

    Routes of ``disabled`` resources do not exist.
    """
    around = surroundings or ApiEnvironment()
    has_meta = "meta" not in disabled
    app = FastAPI(
        title="Runstead",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if has_meta else None,
        **_WITHOUT_OWN_SPANS,
        middleware=_middleware(source, authenticator, cors or Cors(), around),
    )
    app.state.source = source
    app.state.has_console, app.state.mount_prefix = around.has_console, around.mount_prefix
    app.state.console_login = around.console_login
    app.add_exception_handler(RequestValidationError, _invalid_request)
    about = [meta.router, metrics.router] if has_meta else [meta.bare]
    routers = [*about, *(module.router for module, nouns in _ROUTES if not any(noun in disabled for noun in nouns))]
    if around.has_console:
        app.include_router(console.router, dependencies=[Depends(checked_route)])
    for router in routers:
        # Added here and not in each route: a route that forgot it would be open to every authenticated user.
        doors = [] if router in about else [Depends(authorize)]
        app.include_router(router, dependencies=[Depends(checked_route), *doors])
    describe(app, routers, lambda schema: joined(secured(schema, around.security), around.custom()))
    return app


def _middleware(
    source: ServiceSource, authenticator: Authenticator, cors: Cors, around: ApiEnvironment
) -> list[Middleware]:
    """Return the middleware, from the outside in. Browsers must be able to read errors, including those of
    authentication."""
    # Also of disabled resources: a custom app may serve their paths.
    paths = PathTemplates(route for route, _ in permissions_of([module.router for module, _ in _ROUTES]))
    seconds, open_paths = around.access_check_seconds, around.open_paths
    authenticator = RecordedLogins(authenticator, lambda: source.services.audit)
    return [
        Middleware(RequestLog, count=around.count_request, trace=around.trace_request),
        *([Middleware(LoggedHeaders, chosen=around.logged_headers)] if around.logged_headers else []),
        _cors(cors, around.custom),
        *_page_guard(around),
        *_prefix(around.mount_prefix),
        Middleware(
            CustomRoutes,
            custom=around.custom,
            authenticator=authenticator,
            check_seconds=seconds,
            paths=paths,
            open_paths=open_paths,
        ),
        Middleware(RemarkHeaders),
        Middleware(ErrorMiddleware),
        Middleware(SocketErrorMiddleware),
        Middleware(MemoryGuard, budget=around.memory),
        Middleware(
            Authentication, authenticator=authenticator, check_seconds=seconds, paths=paths, open_paths=open_paths
        ),
        Middleware(Limits, source=lambda: source.services.limits),
        Middleware(Audit, source=lambda: source.services.audit),
    ]


async def _invalid_request(_: Request, error: Exception) -> Response:
    problem = problem_of(error)
    if isinstance(error, RequestValidationError):
        problem = _problem_of_parameters(error)
    return answer(problem.to_json(), problem.status)


def _problem_of_parameters(error: RequestValidationError) -> Problem:
    return problem_of(Unprocessable(sentence_of(error.errors())))


def _prefix(prefix: str | None) -> list[Middleware]:
    if prefix is None:
        return []
    return [Middleware(ErrorMiddleware), Middleware(SocketErrorMiddleware), Middleware(MountPrefix, prefix=prefix)]


def _page_guard(around: ApiEnvironment) -> list[Middleware]:
    if around.pages is None:
        return []
    guard = Middleware(PageGuard, policy=around.pages, custom=around.custom)
    return [Middleware(ErrorMiddleware), Middleware(SocketErrorMiddleware), guard]


def _cors(cors: Cors, custom: Callable[[], CustomApp | None]) -> Middleware:
    options = {
        "allow_origins": list(cors.allow_origins),
        "allow_methods": list(cors.allow_methods),
        "allow_headers": list(cors.allow_headers),
        "allow_credentials": cors.allow_credentials,
        "allow_origin_regex": cors.allow_origin_regex,
        "allow_private_network": cors.allow_private_network,
        "expose_headers": [*EXPOSED_HEADERS, *cors.expose_headers],
        "max_age": cors.max_age,
    }
    return Middleware(CorsMiddleware, custom=custom, options=options)
