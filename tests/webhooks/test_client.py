"""One POST, over real sockets: pinned to the checked address, bounded in time, without following redirects."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import httpx
import pytest

from runstead.infra.webhooks.client import NoResponse, Reply, WebhookClient
from runstead.infra.webhooks.url_policy import UrlPolicy, WebhookUrls
from runstead.resources.webhooks import WebhookRefused

from .receiver import Received, receiving

HERE = UrlPolicy(allow_loopback=True)
OWN = httpx.MockTransport(lambda request: httpx.Response(299, headers={"retry-after": request.url.raw_path.decode()}))


async def here(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


async def post(url: str, *, policy: UrlPolicy = HERE, resolve: object = here, timeout: float = 5) -> Reply:
    addresses = WebhookUrls(policy, resolve)  # type: ignore[arg-type]
    async with WebhookClient.running(addresses, timeout=timeout, own_routes=OWN) as client:
        return await client.post(url, b'{"x":1}', {"content-type": "application/json", "x-mine": "yes"})


async def test_body_headers_and_host_name_arrive() -> None:
    async with receiving() as receiver:
        reply = await post(f"http://hooks.example.org:{receiver.port}/hook?a=b")
        (got,) = receiver.received
    assert reply == Reply(204)
    assert (got.path, got.body, got.headers["x-mine"]) == ("/hook?a=b", b'{"x":1}', "yes")
    assert got.headers["host"] == f"hooks.example.org:{receiver.port}"


async def test_dns_rebinding_reaches_nothing() -> None:
    answers = iter([["93.184.216.34"], ["127.0.0.1"]])

    async def rebinding(host: str, port: int) -> Sequence[str]:
        return next(answers)

    async with receiving() as receiver:
        addresses = WebhookUrls(UrlPolicy(), rebinding)
        url = f"http://rebinding.example.org:{receiver.port}/"
        await addresses.check(url)
        async with WebhookClient.running(addresses, timeout=5, own_routes=OWN) as client:
            with pytest.raises(WebhookRefused, match="loopback"):
                await client.post(url, b"{}", {})
        assert receiver.received == []


async def test_client_resolves_once_and_connects_to_the_checked_address() -> None:
    asked = []

    async def once(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"]

    async with receiving() as receiver:
        # Only the resolver knows this name: a second look-up by any other code would fail.
        assert (await post(f"http://only-here.invalid:{receiver.port}/", resolve=once)).status_code == 204
    assert asked == ["only-here.invalid"]


async def test_client_tries_the_next_address_of_a_name() -> None:
    async def two(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.2", "127.0.0.1"]

    async with receiving() as receiver:
        assert (await post(f"http://two.example.org:{receiver.port}/", resolve=two)).status_code == 204


async def test_redirect_is_not_followed() -> None:
    async with receiving() as inside:

        def elsewhere(_: Received) -> bytes:
            return f"HTTP/1.1 307 Temporary\r\nLocation: {inside.url}\r\nContent-Length: 0\r\n\r\n".encode()

        async with receiving(elsewhere) as receiver:
            assert (await post(receiver.url)).status_code == 307
        assert inside.received == []


async def test_silent_receiver_times_out() -> None:
    async with receiving(lambda _: None) as receiver:
        before = time.monotonic()
        with pytest.raises(NoResponse, match=r"no answer within 0\.3 s"):
            await post(receiver.url, timeout=0.3)
        assert time.monotonic() - before < 30


async def test_silent_name_server_times_out() -> None:
    async def silent(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(60)
        return []

    with pytest.raises(NoResponse, match="no answer within"):
        await post("http://slow.example.org/", resolve=silent, timeout=0.2)


async def test_endless_response_is_not_read() -> None:
    async with receiving(
        lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * 100_000
    ) as receiver:
        assert (await post(receiver.url)).status_code == 200


async def test_response_that_is_not_http_is_unanswered() -> None:
    async with receiving(lambda _: b"SSH-2.0-OpenSSH_9.9\r\n") as receiver:
        with pytest.raises(NoResponse, match="RemoteProtocolError"):
            await post(receiver.url)
    with pytest.raises(NoResponse, match="ConnectError"):
        await post(receiver.url)


async def test_proxy_variables_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving() as proxy, receiving() as receiver:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        assert (await post(receiver.url)).status_code == 204
        assert proxy.received == []


async def test_tls_verifies_the_host_name() -> None:
    """No trusted certificate exists here: the test checks the host name that the client sends."""
    said: list[bytes] = []

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        said.append(await reader.read(4096))
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(NoResponse):
            await post(f"https://hooks.example.org:{port}/")
    assert b"hooks.example.org" in said[0]


async def test_path_is_posted_to_the_app_of_the_server_only() -> None:
    assert await post("/hook/é?a=b%20c") == Reply(299, "/hook/%C3%A9?a=b%20c")
    with pytest.raises(WebhookRefused, match="disable_loopback"):
        await post("/hook", policy=UrlPolicy())
    with pytest.raises(WebhookRefused, match="absolute"):
        await post("//example.org/hook")
    with pytest.raises(WebhookRefused, match="disabled on this server"):
        await post("/hook", policy=UrlPolicy(allow_loopback=True, disabled=True))
