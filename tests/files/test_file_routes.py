"""Files of threads over HTTP, and as the nodes of a graph see them."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from runstead.bootstrap.application import Application
from tests.servers.s3 import CREDENTIALS, new_bucket
from tests.servers.sqlite import current_data

CONFIGURATION = Path(__file__).parent / "langgraph.json"


@pytest.fixture(params=["disk", "s3"])
async def client(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    """A server with files in its data directory, or in a bucket."""
    files_url = None
    if request.param == "s3":
        endpoint = request.getfixturevalue("s3_url")
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint}.items():
            monkeypatch.setenv(name, value)
        files_url = f"s3://{new_bucket(endpoint)}/a/prefix"
    application = Application.from_file(
        CONFIGURATION,
        data_dir=current_data(tmp_path / "data"),
        port=0,
        shutdown_grace_seconds=0.1,
        files_max_file_bytes=10_000,
        files_url=files_url,
    )
    transport = httpx.ASGITransport(application.asgi)
    async with application.running(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


@pytest.fixture
async def place(client: httpx.AsyncClient) -> str:
    return f"/threads/{(await client.post('/threads', json={})).json()['thread_id']}/files"


async def test_uploaded_files_are_listed_downloaded_and_deleted(client: httpx.AsyncClient, place: str) -> None:
    sent = [
        ("file", ("a.txt", b"0123456789")),
        ("file", ("page.html", b"<script>")),
        ("other", ("\u00fc.svg", b"<svg>")),
    ]
    stored = (await client.post(place, files=sent)).json()
    assert [each["path"] for each in stored] == ["uploads/a.txt", "uploads/page.html", "uploads/\u00fc.svg"]
    listed = await client.get(place, params={"limit": 2})
    assert (listed.json(), listed.headers["x-pagination-total"]) == (stored[:2], "3")
    text = await client.get(f"{place}/content", params={"path": "uploads/a.txt"})
    assert (text.content, text.headers["content-disposition"][:6]) == (b"0123456789", "inline")
    for path in ("uploads/page.html", "uploads/\u00fc.svg"):
        active = await client.get(f"{place}/content", params={"path": path})
        assert active.headers["content-disposition"].startswith("attachment")
        assert active.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in active.headers["content-security-policy"]
    archive = zipfile.ZipFile(io.BytesIO((await client.get(f"{place}/archive")).content))
    assert archive.read("uploads/a.txt") == b"0123456789"
    assert len(archive.namelist()) == 3
    assert (await client.delete(place, params={"path": "uploads/a.txt"})).status_code == 204
    assert (await client.delete(place, params={"path": "uploads/a.txt"})).status_code == 404
    assert (await client.get(f"{place}/content", params={"path": "uploads/a.txt"})).status_code == 404


@pytest.mark.parametrize(
    ("asked", "status", "content"),
    [
        ("bytes=2-4", 206, b"234"),
        ("bytes=7-", 206, b"789"),
        ("bytes=-2", 206, b"89"),
        ("bytes=8-100", 206, b"89"),
        ("bytes=10-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=1-2,4-5", 200, b"0123456789"),
        ("lines=1-2", 200, b"0123456789"),
    ],
)
async def test_range_of_a_file(
    client: httpx.AsyncClient, place: str, asked: str, status: int, content: bytes | None
) -> None:
    await client.post(place, files={"file": ("a.txt", b"0123456789")})
    found = await client.get(f"{place}/content", params={"path": "uploads/a.txt"}, headers={"range": asked})
    assert found.status_code == status
    if content is None:
        assert found.headers["content-range"] == "bytes */10"
    else:
        assert found.content == content
    stale = {"range": "bytes=2-4", "if-range": '"another"'}
    whole = await client.get(f"{place}/content", params={"path": "uploads/a.txt"}, headers=stale)
    assert (whole.status_code, whole.content) == (200, b"0123456789")


async def test_upload_that_makes_no_sense_is_refused(client: httpx.AsyncClient, place: str) -> None:
    good = ("file", ("good.txt", b"1"))
    for files, params, status in (
        ([good, ("file", ("../x", b"1"))], {}, 422),
        ([good, ("file", ("nul", b"1"))], {}, 422),
        ([good], {"folder": "elsewhere"}, 422),
        ([good], {"folder": "uploads/.."}, 422),
        ([("file", ("big", b"1" * 20_000))], {}, 413),
        ([("file", (f"{number}", b"1")) for number in range(21)], {}, 400),
    ):
        refused = await client.post(place, files=files, params=params)
        assert (refused.status_code, list(refused.json())) == (status, ["detail"]), (files, params)
    assert (await client.post(place, json={})).status_code == 415
    assert (await client.post(place, data={"x": "y"}, files={"x": (None, b"y")})).status_code == 422
    broken = await client.post(place, content=b"x", headers={"content-type": "multipart/form-data; boundary=b"})
    assert broken.status_code in (400, 422)
    assert (await client.get(place)).json() == []


async def test_run_works_with_the_files_of_its_thread(client: httpx.AsyncClient, place: str) -> None:
    await client.post(place, files={"file": ("a.txt", b"hello")})
    thread = place.removesuffix("/files")
    found = (await client.post(f"{thread}/runs/wait", json={"assistant_id": "worker", "input": {}})).json()
    assert found == {"uploaded": "hello", "note": "x", "listed": ["/workspace/plan.md"]}
    paths = [each["path"] for each in (await client.get(place)).json()]
    assert paths == ["outputs/report.html", "uploads/a.txt", "workspace/plan.md"]
    other = (await client.post("/runs/wait", json={"assistant_id": "worker", "input": {}})).json()
    assert (other["uploaded"], other["note"]) == ("", "xx")
    # Deleted with the thread; the user's memory stays.
    await client.delete(thread)
    again = await client.post("/threads", json={"thread_id": thread.rpartition("/")[2]})
    assert again.status_code == 200
    assert (await client.get(place)).json() == []
    assert (await client.get("/memory/files/content", params={"path": "memory/notes.txt"})).content == b"xx"


async def test_what_a_node_wrote_is_stored_before_the_node_counts_as_done(
    client: httpx.AsyncClient, place: str
) -> None:
    thread = place.removesuffix("/files")
    run = (await client.post(f"{thread}/runs", json={"assistant_id": "steps", "input": {}})).json()
    path = {"path": "outputs/first"}
    async with asyncio.timeout(60):
        while not (await client.get(f"{thread}/state")).json()["values"].get("done"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    # The second node still runs.
    assert (await client.get(f"{place}/content", params=path)).content == b"1"
    await client.post(place, files={"file": ("go", b"")}, params={"folder": "workspace"})
    await client.post(f"{thread}/runs/{run['run_id']}/cancel?wait=true&action=interrupt")
    assert (await client.get(f"{place}/content", params=path)).content == b"1"


async def test_memory_of_a_user_is_uploaded_listed_downloaded_and_deleted(client: httpx.AsyncClient) -> None:
    place = "/memory/files"
    sent = {"file": ("notes.txt", b"0123456789")}
    (stored,) = (await client.post(place, files=sent)).json()
    (deeper,) = (await client.post(place, files=sent, params={"folder": "memory/skills"})).json()
    assert (stored["path"], deeper["path"]) == ("memory/notes.txt", "memory/skills/notes.txt")
    assert (await client.get(place)).json() == [stored, deeper]
    part = await client.get(f"{place}/content", params={"path": "memory/notes.txt"}, headers={"range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")
    archive = zipfile.ZipFile(io.BytesIO((await client.get(f"{place}/archive")).content))
    assert archive.namelist() == ["memory/notes.txt", "memory/skills/notes.txt"]
    for path in ("uploads/x", "memory/../x", "elsewhere"):
        refused = await client.post(place, files=sent, params={"folder": path})
        assert (refused.status_code, list(refused.json())) == (422, ["detail"])
        assert (await client.get(f"{place}/content", params={"path": path})).status_code in (404, 422)
    assert (await client.delete(place, params={"path": "memory/notes.txt"})).status_code == 204
    assert (await client.delete(place, params={"path": "memory/notes.txt"})).status_code == 404
    assert (await client.get(place)).json() == [deeper]
