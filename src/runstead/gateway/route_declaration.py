"""Declaration of a route beside the route: its permission, and the responses for the API documentation.

Routes write their responses themselves, so that nothing is encoded twice: the declaration describes them, and a test
with random requests checks it. With auth handlers, a route without a permission is closed; a test checks that only the
open paths have none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from fastapi import APIRouter
from fastapi.routing import APIRoute, APIWebSocketRoute

from .auth.policy import READS, Permission
from .openapi.responses import Responses

_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])

_ATTRIBUTE: Final = "__runstead_route__"


@dataclass(frozen=True, slots=True)
class RouteDeclaration:
    """``permission``: None for an open path. ``responses``: None for arbitrary JSON with status 200. ``writes``: the
    route changes something, although its permission is one to read."""

    permission: Permission | None = None
    responses: Responses | None = None
    writes: bool = False

    @property
    def is_read(self) -> bool:
        """Return whether the route changes nothing."""
        return not self.writes and (self.permission is None or self.permission.action in READS)


def declare(
    permission: Permission | None = None, responses: Responses | None = None, *, writes: bool = False
) -> Callable[[_Endpoint], _Endpoint]:
    """Declare the function of a route. Below the router's decorator."""

    def mark(endpoint: _Endpoint) -> _Endpoint:
        setattr(endpoint, _ATTRIBUTE, RouteDeclaration(permission, responses, writes))
        return endpoint

    return mark


def declaration_of(endpoint: Callable[..., Any]) -> RouteDeclaration:
    found: RouteDeclaration = getattr(endpoint, _ATTRIBUTE, RouteDeclaration())
    return found


def permissions_of(routers: Sequence[APIRouter]) -> Iterator[tuple[tuple[str, str], Permission | None]]:
    """Yield the permission of each route, by its method and path; WEBSOCKET is the method of web sockets."""
    for route in (route for router in routers for route in router.routes):
        if isinstance(route, APIRoute):
            for method in route.methods or ():
                yield (method, route.path), declaration_of(route.endpoint).permission
        elif isinstance(route, APIWebSocketRoute):
            yield ("WEBSOCKET", route.path), declaration_of(route.endpoint).permission
