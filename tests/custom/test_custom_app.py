"""A custom app beside Runstead's routes."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from runstead.bootstrap.unsupported import UnsupportedConfiguration

from . import auth, site
from .conftest import WITH_AUTH, Configured, Served, with_app

HELLO: dict[str, Any] = {"messages": [{"role": "human", "content": "hi there"}]}


async def test_app_routes_are_served_beside_api_routes(served: Served) -> None:
    async with served(http=with_app()) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/hello")).json() == {"greeting": "hello from the lifespan", "user": None}
        client = get_client(url=url, api_key=None)
        thread = await client.threads.create()
        parts = [part async for part in client.runs.stream(thread["thread_id"], "agent", input=HELLO)]
        assert parts[-1].data["messages"][-1]["content"] == "echo: hi there"
        assert (await http.get("/nowhere")).json() == {"detail": "Not Found"}


async def test_app_routes_take_precedence_except_reserved_paths(served: Served) -> None:
    async with served(http=with_app()) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/info")).json() == {"info": "theirs"}
        assert (await http.post("/threads/count", json={"what": "theirs"})).json() == {"count": "theirs"}
        assert (await http.get("/ok")).json()["ok"] is True
        assert (await http.get("/openapi.json")).json()["info"]["title"] == "Runstead"
        # Another method of one of the app's paths is still Runstead's.
        assert (await http.post("/threads/search", json={})).json() == []


async def test_app_lifespan_and_middleware_wrap_all_routes(served: Served) -> None:
    async with served(http=with_app()) as url, httpx.AsyncClient(base_url=url) as http:
        assert site.SEEN == ["started"]
        for path in ("/hello", "/docs", "/assistants/none"):
            assert (await http.get(path)).headers["x-stamp"] == "theirs"
        assert site.SEEN[1:] == ["GET /hello", "GET /docs", "GET /assistants/none"]
    assert site.SEEN[-1] == "stopped"


async def test_probes_bypass_app_middleware(served: Served) -> None:
    async with served(http=with_app("locked")) as url, httpx.AsyncClient(base_url=url) as http:
        for path in ("/ok", "/ready"):
            assert (await http.get(path)).status_code == 200
        assert {(await http.get(path)).status_code for path in ("/info", "/assistants/none", "/plain")} == {401}
        assert (await http.get("/plain", headers={"x-key": "k"})).text == "plain"


async def test_app_errors_are_handled_by_the_app(served: Served) -> None:
    async with served(http=with_app()) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/fails/oops")).json() == {"their": "oops"}
        assert (await http.get("/fails/teapot")).json() == {"detail": "teapot"}
        assert (await http.get("/fails/else")).status_code == 500
        assert (await http.get("/threads/none")).status_code in (404, 422)


async def test_app_web_sockets_and_api_web_sockets_are_served(served: Served) -> None:
    async with served(http=with_app()) as url:
        base = url.replace("http", "ws")
        async with connect(f"{base}/echo") as socket:
            await socket.send("hello")
            assert await socket.recv() == "hello"
        async with connect(f"{base}/threads/{'0' * 8}-0000-4000-8000-{'0' * 12}/stream/events") as socket:
            await socket.send('{"id": 1, "method": "nothing", "params": {}}')
            assert "unknown_command" in str(await socket.recv())
        async with connect(f"{base}/nowhere") as socket:
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4404


@pytest.mark.parametrize("order", ["middleware_first", "auth_first"])
async def test_app_routes_are_open_and_api_routes_authenticated(served: Served, order: str) -> None:
    http_part = with_app(middleware_order=order)
    async with served(http=http_part, auth=WITH_AUTH) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/hello")).json()["user"] is None
        assert (await http.post("/threads/search", json={})).status_code == 401
        auth.ASKED.clear()
        assert (await http.post("/threads/search", json={}, headers={"x-user": "ada"})).status_code == 200
        assert auth.ASKED == ["/threads/search"]


@pytest.mark.parametrize("order", ["middleware_first", "auth_first"])
async def test_app_routes_can_require_authentication(served: Served, order: str) -> None:
    http_part = with_app(middleware_order=order, enable_custom_route_auth=True)
    async with served(http=http_part, auth=WITH_AUTH) as url, httpx.AsyncClient(base_url=url) as http:
        refused = await http.get("/hello")
        assert (refused.status_code, refused.json()) == (401, {"detail": "Say who you are"})
        # Open as a Runstead route, protected as an app route.
        assert (await http.get("/info")).status_code == 401
        assert (await http.get("/ok")).status_code == 200
        assert (await http.get("/hello", headers={"x-user": "ada"})).json()["user"] == "ada"
        assert (await http.get("/fails/oops", headers={"x-user": "ada"})).json() == {"their": "oops"}


async def test_middleware_order_determines_what_auth_handlers_see(served: Served) -> None:
    """The middleware translates a header; handlers see the result only if they are called after it."""
    alias = {"x-alias": "ada"}
    for order, status in (("middleware_first", 200), ("auth_first", 401)):
        http_part = with_app(middleware_order=order)
        async with served(http=http_part, auth=WITH_AUTH) as url, httpx.AsyncClient(base_url=url) as http:
            answer = await http.post("/threads/search", json={}, headers=alias)
            assert answer.status_code == status
            assert ("x-stamp" in answer.headers) == (order == "middleware_first")


async def test_openapi_document_has_app_routes_and_api_routes(served: Served) -> None:
    async with served(http=with_app()) as url, httpx.AsyncClient(base_url=url) as http:
        schema = (await http.get("/openapi.json")).json()
        assert {"/hello", "/threads", "/runs/wait"} <= set(schema["paths"])
        assert schema["paths"]["/threads/count"]["post"]["requestBody"]["content"]["application/json"]["schema"] == {
            "$ref": "#/components/schemas/CustomRunCreate"
        }
        assert set(schema["components"]["schemas"]["CustomRunCreate"]["properties"]) == {"what"}
        assert "assistant_id" in schema["components"]["schemas"]["RunCreate"]["properties"]
        assert "/hello" in (await http.get("/docs")).text


async def test_app_with_own_cors_decides_for_all_routes(served: Served) -> None:
    local = "http://localhost:3000"
    for name, allowed in (("app", local), ("strict", None)):
        async with served(http=with_app(name)) as url, httpx.AsyncClient(base_url=url) as http:
            answer = await http.post("/threads/search", json={}, headers={"origin": local})
            assert answer.headers.get("access-control-allow-origin") == allowed


async def test_starlette_app_is_accepted(served: Served) -> None:
    for _ in range(2):
        # Again, since the module is loaded only once, and so the app is the same.
        async with served(http=with_app("plain")) as url, httpx.AsyncClient(base_url=url) as http:
            assert (await http.get("/plain")).text == "plain"
            assert (await http.get("/ok")).status_code == 200
            assert "/threads" in (await http.get("/openapi.json")).json()["paths"]


@pytest.mark.parametrize(
    ("app", "message"),
    [
        ("./absent.py:app", "there is no file"),
        (f"{with_app()['app']}lication", "it has no variable 'application'"),
        (with_app("no_app")["app"], "is a dict; it must be an app of Starlette or FastAPI"),
    ],
)
async def test_unloadable_app_prevents_startup(configured: Configured, app: str, message: str) -> None:
    with pytest.raises(UnsupportedConfiguration, match=message):
        await configured(http={"app": app}).running().__aenter__()


async def test_openapi_document_has_configured_security_schemes(configured: Configured) -> None:
    message: dict[str, Any] = {
        "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "x-api-key"}},
        "security": [{"key": []}],
        "paths": {"/threads": {"POST": []}},
    }
    schema = configured(auth={**WITH_AUTH, "openapi": message}).asgi.openapi()
    assert schema["components"]["securitySchemes"] == message["securitySchemes"]
    assert "RunCreate" in schema["components"]["schemas"]
    assert schema["security"] == [{"key": []}]
    assert schema["paths"]["/threads"]["post"]["security"] == []
