"""Recordings of the reference server's streams for the same runs of the same agents, reduced to what is compared.

A recording keeps the part that a server is responsible for: the events, their graph, texts, tool calls, nodes and
values. It omits ids, times, usage, additions by libraries to their messages, and the split of messages into chunks.
To record again:

python -m tests.apps.recordings /path/to/reference/venv
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from runstead.cli.servers.ports import free_port
from tests.processes.client import new_id
from tests.processes.frames import Frame
from tests.providers.running import Providers
from tests.servers.postgres import own_postgres
from tests.servers.valkey import own_valkey

from .catalog import APPS, App
from .driver import MODES, User
from .servers import CONFIG, agents_environ

FOLDER: Final = Path(__file__).parent / "recordings"
_IDS: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|(call_|toolu_)[0-9a-f]+")
_MESSAGES: Final = ("human", "ai", "tool", "system", "AIMessageChunk")
_NODE: Final = ("langgraph_node", "langgraph_step")
_LEFT_OUT: Final = frozenset({
    "additional_kwargs", "checkpoint", "checkpoint_id", "config", "created_at", "id", "invalid_tool_calls", "metadata",
    "modified_at", "parent_checkpoint", "parent_config", "parent_ids", "response_metadata", "run_id", "runtime",
    "state", "timestamp", "tool_call_id", "usage_metadata",
})  # fmt: skip


def reduced(frames: Sequence[Frame], mode: str) -> list[Any]:
    """Return the compared part of a stream; the chunks of a message become one entry."""
    entries: list[Any] = []
    pieces: dict[Any, list[Any]] = {}
    for frame in frames:
        entry = [_IDS.sub("#", frame.event), _reduced_data(frame, mode)]
        if (message := _message_of(frame, mode)) is None:
            entries.append(entry)
        elif message not in pieces:
            entries.append(entry)
            pieces[message] = entry
        elif frame.event.startswith("messages/"):
            # Each contains the text so far.
            pieces[message][1] = entry[1]
        elif mode == "messages-tuple":
            pieces[message][1][0]["AIMessageChunk"] += entry[1][0]["AIMessageChunk"]
    return entries


def difference(app: App, mode: str, frames: Sequence[Frame]) -> list[str]:
    """Return the differences between a stream and the reference's; the order of parallel agents does not matter."""
    theirs = json.loads((FOLDER / f"{app}.json").read_text())[mode]
    sides = (theirs, reduced(frames, mode))
    texts = [[json.dumps(each, sort_keys=True) for each in side if not _is_private_step(each)] for side in sides]
    if app.is_parallel:
        texts = [sorted(side) for side in texts]
    if texts[0] == texts[1]:
        return []
    missing = [f"- {text[:500]}" for text in texts[0] if texts[0].count(text) > texts[1].count(text)]
    surplus = [f"+ {text[:500]}" for text in texts[1] if texts[1].count(text) > texts[0].count(text)]
    return [*missing, *surplus] or ["the same in another order"]


def _is_private_step(entry: list[Any]) -> bool:
    """True for an event of a library's private function: LangChain 1.5 has `_check_refusal`, 1.4 does not."""
    event, data = entry
    return bool(event == "events" and data[1].startswith("_"))


async def streams_of(user: User, app: App, modes: Sequence[str] = MODES) -> Mapping[str, list[Frame]]:
    """Stream one run in each of the modes."""

    async def stream(mode: str) -> list[Frame]:
        text = f"{app}-mode-{mode}"
        return await user.stream_to_end(app, text, new_id(), stream_mode=[mode], stream_subgraphs=True)

    return dict(zip(modes, await asyncio.gather(*(stream(mode) for mode in modes)), strict=True))


def _message_of(frame: Frame, mode: str) -> Any:
    """Return the key of the message that a frame is a chunk of, or None if the frame is complete."""
    match frame.event.partition("|")[0]:
        case "messages/partial":
            return frame.json[0]["id"]
        case "messages" if frame.json[0]["type"] == "AIMessageChunk":
            return frame.event, frame.json[0]["id"]
        case "events" if frame.json["event"].endswith("_stream"):
            return frame.json["event"], frame.json["run_id"]
        case _:
            return None


def _reduced_data(frame: Frame, mode: str) -> Any:
    match frame.event.partition("|")[0]:
        case "metadata" | "messages/metadata":
            return None
        case "events":
            return [frame.json["event"], frame.json["name"]]
        case "messages":
            message, metadata = frame.json
            chunk = {"AIMessageChunk": _text(message["content"])}
            is_chunk = message["type"] == "AIMessageChunk"
            return [chunk if is_chunk else _reduced(message), {name: metadata.get(name) for name in _NODE}]
        case _:
            return _reduced(frame.json)


def _reduced(value: Any) -> Any:
    match value:
        case {"type": kind, "content": content} if kind in _MESSAGES:
            calls = [[call["name"], call["args"]] for call in value.get("tool_calls") or []]
            return {kind: _text(content), **({"calls": _reduced(calls)} if calls else {})}
        case dict():
            return {_IDS.sub("#", key): _entry(key, each) for key, each in value.items() if key not in _LEFT_OUT}
        case list():
            return [_reduced(each) for each in value]
        case str():
            return _IDS.sub("#", value)
        case _:
            return value


def _entry(key: str, value: Any) -> Any:
    match key:
        case "response_schema":
            return value and sorted(value.get("$defs", value))
        case "interrupts" | "__interrupt__" if isinstance(value, list):
            # Interrupts of parallel tasks.
            return sorted((_reduced(each) for each in value), key=json.dumps)
        case _:
            return _reduced(value)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return _IDS.sub("#", content)
    return "".join(block.get("text", "") for block in content)


@contextmanager
def _reference(venv: Path, folder: Path, providers: Providers) -> Iterator[str]:
    with own_postgres() as postgres, own_valkey(folder / "valkey") as valkey:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        environ = {**os.environ, **agents_environ(providers, postgres.url, valkey.url), "AGENTS_URL": url}
        project = shutil.copytree(CONFIG.parent, folder / "project")
        command = [f"{venv}/bin/langgraph", "dev", "--port", f"{port}", "--no-browser", "--no-reload"]
        command += ["--n-jobs-per-worker", "60"]
        log = (folder / "log").open("wb")
        process = subprocess.Popen(command, cwd=project, env=environ, stdout=log, stderr=log)
        try:
            while not _answers(url):
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.2)
            yield url
        finally:
            process.terminate()
            process.wait(30)
            log.close()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ok").is_success
    except httpx.TransportError:
        return False


async def _record(url: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    async with User(url, "ada") as ada:
        for app in APPS:
            found = {mode: reduced(frames, mode) for mode, frames in (await streams_of(ada, app)).items()}
            lines = [
                f'"{mode}": [\n' + ",\n".join(json.dumps(each, sort_keys=True) for each in frames) + "\n]"
                for mode, frames in found.items()
            ]
            (FOLDER / f"{app}.json").write_text("{" + ",\n".join(lines) + "}\n")
            print(app, {mode: len(frames) for mode, frames in found.items()})


def main(venv: str) -> None:
    folder = Path(tempfile.mkdtemp())
    print("log:", folder / "log")
    with Providers.running() as providers, _reference(Path(venv), folder, providers) as url:
        asyncio.run(_record(url))


if __name__ == "__main__":
    main(sys.argv[1])
