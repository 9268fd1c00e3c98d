"""End to end: a run is created with a webhook, ends, and the receiver gets a request. Also with the unmodified
client.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from standardwebhooks import Webhook

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from runstead.bootstrap.unsupported import UnsupportedConfiguration
from runstead.settings import load_settings
from tests.processes.client import eventually
from tests.servers.sqlite import current_data

from .receiver import OK, Received, receiving

GRAPHS = Path(__file__).parent.parent / "graphs"
SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
HELLO: dict[str, Any] = {"messages": [{"role": "human", "content": "hi there"}]}


def application(
    place: Path, *, webhooks: Any = None, http: Any = None, auth: Any = None, **settings: Any
) -> Application:
    document = json.loads((GRAPHS / "recorded.json").read_text())
    document["graphs"] = {name: target.replace("./", f"{GRAPHS}/") for name, target in document["graphs"].items()}
    document |= {"webhooks": webhooks} if webhooks is not None else {}
    document |= {"http": http} if http is not None else {}
    document |= {"auth": auth} if auth is not None else {}
    place.mkdir(exist_ok=True)
    (place / "langgraph.json").write_text(json.dumps(document))
    quick = {"shutdown_grace_seconds": 0.1, "webhook_retry_seconds": 0.05, "webhook_secrets": SECRET}
    return Application.from_file(
        place / "langgraph.json",
        data_dir=current_data(place / "data"),
        port=0,
        **{"webhook_allow_loopback": True, **quick, **settings},
    )


@asynccontextmanager
async def served(place: Path, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(application(place, **options)) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        yield client


async def deliveries(client: httpx.AsyncClient, **params: Any) -> Any:
    return (await client.get("/webhooks/deliveries", params=params)).json()


async def ended(client: httpx.AsyncClient, delivery_id: str, attempts: int = 1) -> Any:
    async def over() -> Any:
        one = (await client.get(f"/webhooks/deliveries/{delivery_id}")).json()
        return one if one["status"] != "pending" and one["attempt_count"] >= attempts else None

    return await eventually(over, 30)


async def test_ended_run_sends_a_signed_webhook_and_lists_the_delivery(tmp_path: Path) -> None:
    async with receiving() as receiver, served(tmp_path) as client:
        sdk = get_client(url=str(client.base_url), api_key=None)
        thread = await sdk.threads.create()
        run = await sdk.runs.create(thread["thread_id"], "agent", input=HELLO, webhook=receiver.url, metadata={"a": 1})
        assert run["kwargs"]["webhook"] == receiver.url  # type: ignore[typeddict-item]
        values = await sdk.runs.join(thread["thread_id"], run["run_id"])
        (got,) = await receiver.count(1)
        payload = Webhook(SECRET).verify(got.body, got.headers)
        assert (payload["run_id"], payload["thread_id"], payload["status"]) == (
            run["run_id"],
            thread["thread_id"],
            "success",
        )
        assert payload["values"] == values
        assert payload["error"] is None
        assert payload["metadata"]["a"] == 1
        assert payload["run_started_at"] <= payload["run_ended_at"] <= payload["webhook_sent_at"]
        (listed,) = await deliveries(client, run_id=run["run_id"])
        one = await ended(client, listed["delivery_id"])
        assert one["delivery_id"] == got.headers["webhook-id"]
        assert (one["status"], one["attempt_count"], one["url"]) == ("delivered", 1, receiver.url)
        assert [(each["number"], each["status_code"]) for each in one["attempts"]] == [(1, 204)]

        again = await client.post(f"/webhooks/deliveries/{one['delivery_id']}/redeliver")
        assert (again.status_code, again.json()["status"]) == (202, "pending")
        both = await receiver.count(2)
        assert both[0].headers["webhook-id"] == both[1].headers["webhook-id"]
        assert (await ended(client, one["delivery_id"], 2))["attempt_count"] == 2


async def test_stateless_and_failed_runs_send_webhooks(tmp_path: Path) -> None:
    async with receiving() as receiver, served(tmp_path) as client:
        await client.post("/runs/wait", json={"assistant_id": "agent", "input": HELLO, "webhook": receiver.url})
        await client.post("/runs/wait", json={"assistant_id": "fail", "input": {}, "webhook": receiver.url})
        first, second = (json.loads(got.body) for got in await receiver.count(2))
        assert len(first["values"]["messages"]) == 2
        assert (second["status"], second["error"]["error"]) == ("error", "ValueError")


async def test_batch_run_and_run_cancelled_before_start_send_webhooks(tmp_path: Path) -> None:
    async with receiving() as receiver, served(tmp_path) as client:
        body = {"assistant_id": "agent", "input": HELLO, "webhook": receiver.url, "after_seconds": 3600}
        (run,) = (await client.post("/runs/batch", json=[body])).json()
        await client.post(f"/threads/{run['thread_id']}/runs/{run['run_id']}/cancel?wait=1")
        (got,) = await receiver.count(1)
        assert (json.loads(got.body)["status"], json.loads(got.body)["values"]) == ("interrupted", None)


async def test_failed_delivery_is_retried(tmp_path: Path) -> None:
    answers = iter([b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 302 Away\r\nLocation: /x\r\n\r\n"])

    def answer(_: Received) -> bytes:
        return next(answers, OK)

    async with receiving(answer) as receiver, served(tmp_path) as client:
        await client.post("/runs/wait", json={"assistant_id": "agent", "input": HELLO, "webhook": receiver.url})
        await receiver.count(3)
        (listed,) = await deliveries(client)
        one = await ended(client, listed["delivery_id"], 3)
        assert [each["status_code"] for each in one["attempts"]] == [500, 302, 204]
        assert one["attempts"][0]["error"] == "answered 500"


async def test_invalid_webhook_url_is_refused_like_the_reference(tmp_path: Path) -> None:
    async with served(tmp_path, webhook_allow_loopback=False, webhooks={"url": {"allowed_ports": [80, 443]}}) as client:
        thread = (await client.post("/threads", json={})).json()["thread_id"]
        for url, message in (
            ("http://127.0.0.1/x", "Webhook host blocked: loopback IP range"),
            ("http://10.0.0.1/x", "Webhook host blocked: private IP range"),
            ("http://169.254.169.254/x", "Webhook host blocked: cloud metadata endpoint"),
            ("http://93.184.216.34:8080/", "Webhook port 8080 not allowed"),
        ):
            body = {"assistant_id": "agent", "input": HELLO, "webhook": url}
            for path in (f"/threads/{thread}/runs", "/runs", "/runs/stream", f"/threads/{thread}/runs/wait"):
                refused = await client.post(path, json=body)
                assert (refused.status_code, refused.json()) == (422, {"detail": message}), path
            assert (await client.post("/runs/batch", json=[body])).status_code == 422
        assert (await client.get(f"/threads/{thread}/runs")).json() == []


async def test_https_can_be_required(tmp_path: Path) -> None:
    async with served(tmp_path, webhooks={"url": {"require_https": True}}) as client:
        refused = await client.post("/runs", json={"assistant_id": "agent", "webhook": "http://93.184.216.34/"})
        assert (refused.status_code, refused.json()) == (422, {"detail": "Webhook must use https"})


async def test_webhooks_can_be_switched_off(tmp_path: Path) -> None:
    async with served(tmp_path, http={"disable_webhooks": True}) as client:
        refused = await client.post("/runs", json={"assistant_id": "agent", "webhook": "http://93.184.216.34/"})
        assert refused.status_code == 422
        assert "disabled on this server" in refused.json()["detail"]


async def test_configured_headers_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LG_WEBHOOK_TOKEN", "s3cret")
    webhooks = {"headers": {"Authorization": "Bearer ${{ env.LG_WEBHOOK_TOKEN }}!"}}
    async with receiving() as receiver, served(tmp_path, webhooks=webhooks) as client:
        await client.post("/runs/wait", json={"assistant_id": "agent", "input": HELLO, "webhook": receiver.url})
        (got,) = await receiver.count(1)
        assert got.headers["authorization"] == "Bearer s3cret!"


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"x": "${{ env.HOME }}"}, "does not begin with webhooks.env_prefix"),
        ({"x": "${{ env.LG_WEBHOOK_NOT_THERE }}"}, "LG_WEBHOOK_NOT_THERE is not set"),
        ({"x": "${{ secrets.x }}"}, "is not understood"),
        ({"Webhook-Id": "mine"}, "cannot be set here"),
        ({"x y": "z"}, "cannot be set here"),
        ({"x": "a\r\nb: c"}, "not allowed in a header"),
    ],
)
async def test_unsendable_headers_prevent_startup(tmp_path: Path, headers: dict[str, str], message: str) -> None:
    with pytest.raises(UnsupportedConfiguration, match=message):
        async with application(tmp_path, webhooks={"headers": headers}).running():
            pass


async def test_invalid_secret_prevents_startup(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedConfiguration, match=r"webhook_secrets: .*openssl"):
        async with application(tmp_path, webhook_secrets="whsec_").running():
            pass


def test_secret_is_not_shown_with_the_settings(tmp_path: Path) -> None:
    settings = load_settings({"webhook_secrets": SECRET, "data_dir": tmp_path})
    assert SECRET not in repr(settings)
    assert SECRET not in settings.model_dump_json()
    assert settings.webhook_secrets is not None
    assert settings.webhook_secrets.get_secret_value() == SECRET


async def test_unknown_deliveries_are_not_found(tmp_path: Path) -> None:
    async with served(tmp_path) as client:
        for method, path in (("GET", ""), ("POST", "/redeliver")):
            unknown = await client.request(method, f"/webhooks/deliveries/01a202ac-a895-7148-89f0-26ba5aeb42ff{path}")
            assert unknown.status_code == 404
            assert "not found" in unknown.json()["detail"]
            assert (await client.request(method, f"/webhooks/deliveries/nonsense{path}")).status_code == 422
        assert (await client.get("/webhooks/deliveries?status=odd")).status_code == 422
        assert await deliveries(client) == []


async def test_too_large_values_are_omitted_with_their_size(tmp_path: Path) -> None:
    async with receiving() as receiver, served(tmp_path) as client:
        large = {"messages": [{"role": "human", "content": "x" * 3_000_000}]}
        await client.post("/runs/wait", json={"assistant_id": "agent", "input": large, "webhook": receiver.url})
        (got,) = await receiver.count(1)
        payload = json.loads(got.body)
        assert payload["values"] is None
        assert payload["values_omitted"] > 6_000_000
        assert len(got.body) < 4_300_000


@pytest.mark.parametrize("prefix", [None, "/agents"])
async def test_route_of_the_custom_app_is_called_as_the_user_of_the_run(tmp_path: Path, prefix: str | None) -> None:
    own = Path(__file__).with_name("own_routes.py")
    http = {"app": f"{own}:app", "enable_custom_route_auth": True, **({"mount_prefix": prefix} if prefix else {})}
    options = {"http": http, "auth": {"path": f"{own}:auth"}, "webhook_allow_loopback": False}
    async with served(tmp_path, webhooks={"url": {"disable_loopback": False}}, **options) as client:
        client.headers["x-user"] = "ada"
        (module,) = (one for one in sys.modules.values() if getattr(one, "__file__", None) == str(own))
        module.RECEIVED.clear()
        module.ANSWERS[:] = [503]
        body = {"assistant_id": "agent", "input": HELLO, "webhook": "/hook/done"}
        run = (await client.post("/runs", json=body)).raise_for_status().json()

        async def listed() -> Any:
            return await deliveries(client, run_id=run["run_id"])

        (one,) = await eventually(listed, 30)
        assert (await ended(client, one["delivery_id"], attempts=2))["status"] == "delivered"
        assert [user for user, _, _ in module.RECEIVED] == ["ada", "ada"]
        _, got, headers = module.RECEIVED[-1]
        assert Webhook(SECRET).verify(got, headers)["run_id"] == run["run_id"]


async def test_path_is_refused_unless_it_is_allowed(tmp_path: Path) -> None:
    async with served(tmp_path, webhook_allow_loopback=False) as client:
        refused = await client.post("/runs", json={"assistant_id": "agent", "input": HELLO, "webhook": "/hook"})
        assert refused.status_code == 422
        assert "disable_loopback" in refused.text
