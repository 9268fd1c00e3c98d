"""Request headers on the log lines of a request."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from structlog.contextvars import get_contextvars

from runstead.bootstrap.options import logged_headers
from runstead.gateway.middleware import LoggedHeaders
from runstead.graphs.configuration import GraphConfiguration
from runstead.graphs.sections import HttpPart

from .conftest import Configured


async def test_chosen_headers_are_bound_while_a_request_is_answered(tmp_path: Any) -> None:
    http = HttpPart.model_validate({"logging_headers": {"include": ["x-*", "*"], "exclude": ["x-secret"]}})
    chosen = logged_headers(GraphConfiguration(tmp_path, (), http=http))
    assert chosen is not None
    bound: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        bound.append(get_contextvars())
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    headers = {"X-Tenant": "acme", "x-secret": "s", "authorization": "Bearer t", "x-api-key": "k", "cookie": "c"}
    transport = httpx.ASGITransport(LoggedHeaders(app, chosen))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        await client.get("/", headers=headers)
    (shown,) = bound
    assert shown["headers"]["x-tenant"] == "acme"
    assert not {"x-secret", "authorization", "x-api-key", "cookie"} & shown["headers"].keys()
    assert "headers" not in get_contextvars()


@pytest.mark.parametrize(("part", "is_there"), [({}, False), ({"logging_headers": {"include": ["x-*"]}}, True)])
def test_middleware_is_absent_unless_configured(configured: Configured, part: Any, is_there: bool) -> None:
    middleware = configured(http=part).asgi.user_middleware
    assert any(one.cls is LoggedHeaders for one in middleware) == is_there  # type: ignore[comparison-overlap]
