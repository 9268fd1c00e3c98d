"""The HTTP application: routes, and what stands around them. Everything it works with is handed in."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Literal, TypeAlias

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from runstead import __version__
from runstead.wire.credentials import Authenticator
from runstead.wire.errors import Problem, Unprocessable, problem_of, sentence_of
from runstead.wire.remarks import HEADER as REMARKS

from .authentication import Authentication
from .authorization import authorize
from .dependencies import answer, without_nul
from .failures import Failures
from .openapi import describe
from .routes import assistants, creation, events, items, meta, protocol, runs, states, stops, threads, webhooks
from .services import ServiceSource
from .sockets import SocketFailures

Noun: TypeAlias = Literal["assistants", "threads", "runs", "store"]

_ROUTES: Mapping[Noun, Sequence[ModuleType]] = {
    "assistants": (assistants,),
    "threads": (threads, states, events),
    "runs": (creation, stops, runs, protocol, webhooks),
    "store": (items,),
}

EXPOSED_HEADERS = ("content-location", "location", "x-pagination-total", "x-pagination-next", REMARKS)
"""Browsers hide all others from the clients, who need these to find their run again."""


@dataclass(frozen=True, slots=True)
class Cors:
    """As in Starlette's CORSMiddleware. Browsers of everybody by default, as with the reference."""

    allow_origins: Sequence[str] = ("*",)
    allow_methods: Sequence[str] = ("*",)
    allow_headers: Sequence[str] = ("*",)
    allow_credentials: bool = False
    allow_origin_regex: str | None = None
    expose_headers: Sequence[str] = field(default_factory=tuple)
    max_age: int = 600


def create_api(
    source: ServiceSource,
    *,
    authenticator: Authenticator,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[Any]] | None = None,
    cors: Cors | None = None,
    disabled: Collection[Noun] = (),
) -> FastAPI:
    """The app over ``source``. ``lifespan`` starts and stops what is behind it, when the app is served by itself.

    The routes of ``disabled`` nouns do not exist.
    """
    app = FastAPI(
        title="Runstead",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # From the outside in: a browser must be able to read failures, and failures of authentication are failures.
        middleware=[
            _cors(cors or Cors()),
            Middleware(Failures),
            Middleware(SocketFailures),
            Middleware(Authentication, authenticator=authenticator),
        ],
    )
    app.state.source = source
    app.add_exception_handler(RequestValidationError, _invalid_request)
    modules = [meta, *(module for noun, own in _ROUTES.items() if noun not in disabled for module in own)]
    routers = [module.router for module in modules]
    for router in routers:
        # Here and not in each route: one that forgot it would be open to everybody who is known.
        doors = [] if router is meta.router else [Depends(authorize)]
        app.include_router(router, dependencies=[Depends(without_nul), *doors])
    describe(app, routers)
    return app


async def _invalid_request(_: Request, error: Exception) -> Response:
    problem = problem_of(error)
    if isinstance(error, RequestValidationError):
        problem = _problem_of_parameters(error)
    return answer(problem.to_json(), problem.status)


def _problem_of_parameters(error: RequestValidationError) -> Problem:
    return problem_of(Unprocessable(sentence_of(error.errors())))


def _cors(cors: Cors) -> Middleware:
    return Middleware(
        CORSMiddleware,
        allow_origins=list(cors.allow_origins),
        allow_methods=list(cors.allow_methods),
        allow_headers=list(cors.allow_headers),
        allow_credentials=cors.allow_credentials,
        allow_origin_regex=cors.allow_origin_regex,
        allow_private_network=True,
        expose_headers=[*EXPOSED_HEADERS, *cors.expose_headers],
        max_age=cors.max_age,
    )
