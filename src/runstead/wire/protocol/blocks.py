"""Content blocks of a message that arrives in chunks: start, deltas, finish."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import orjson
from langchain_core.messages import AIMessageChunk

from runstead.runtime.json_types import JsonMapping, JsonObject

Block: TypeAlias = JsonObject
Data: TypeAlias = JsonObject

_MEDIA: Final = frozenset(("image", "audio", "video", "file"))
_GROWING: Final = {
    "text": "text",
    "reasoning": "reasoning",
    "tool_call_chunk": "args",
    **dict.fromkeys(_MEDIA, "base64"),
}
"""Block types that arrive in chunks, and the field that grows."""
_DELTAS: Final = {"text": "text-delta", "reasoning": "reasoning-delta", "tool_call_chunk": "tool-call-delta"}
_HEAVY: Final = frozenset(("args", "data", "base64", "output", "value"))
"""Fields that are left out at the start of a block that arrives whole: its finish contains them."""


class Blocks:
    """Blocks of one message, in the order in which they began."""

    def __init__(self) -> None:
        self._open: dict[object, tuple[int, Block]] = {}
        self._finished = 0

    def feed(self, chunk: JsonMapping) -> Iterator[Data]:
        for key, block in _pieces(chunk):
            yield from self._take(key, block)

    def whole(self, block: Block) -> Iterator[Data]:
        """Yield the events of a block that has arrived whole."""
        index = self._index()
        self._finished += 1
        yield {"event": "content-block-start", "index": index, "content": _skeleton(block)}
        if (delta := _delta(block)) is not None:
            yield {"event": "content-block-delta", "index": index, "delta": delta}
        yield {"event": "content-block-finish", "index": index, "content": _finished(block)}

    def finish(self) -> Iterator[Data]:
        for index, block in self._open.values():
            yield {"event": "content-block-finish", "index": index, "content": _finished(block)}
        self._open.clear()

    def _take(self, key: object, block: Block) -> Iterator[Data]:
        if key in self._open:
            index, grown = self._open[key]
            _grow(grown, block)
        else:
            index = self._index()
            self._open[key] = (index, dict(block))
            yield {"event": "content-block-start", "index": index, "content": _skeleton(block)}
        if (delta := _delta(block)) is not None:
            yield {"event": "content-block-delta", "index": index, "delta": delta}

    def _index(self) -> int:
        return len(self._open) + self._finished


def blocks_of(message: JsonMapping) -> Iterator[Block]:
    """Yield the blocks of a message that has arrived whole, in their standard form."""
    content = message.get("content")
    if isinstance(content, str):
        if content:
            yield {"type": "text", "text": content}
    else:
        for block in _standard(content or []):
            if block.get("type") not in ("tool_call", "tool_call_chunk"):
                yield block
    for call in message.get("tool_calls") or ():
        yield {"type": "tool_call", "id": call.get("id"), "name": call.get("name"), "args": call.get("args")}
    for call in message.get("invalid_tool_calls") or ():
        yield {**call, "type": "invalid_tool_call"}


def _pieces(chunk: JsonMapping) -> Iterator[tuple[object, Block]]:
    """Yield the parts of a chunk, each with the key of its block."""
    content = chunk.get("content")
    if isinstance(content, str):
        if content:
            yield "text", {"type": "text", "text": content}
    else:
        for number, block in enumerate(_standard(content or [])):
            kind = block.get("type")
            if kind not in ("tool_call", "tool_call_chunk"):
                yield (kind, block.get("index", number)), block
    for number, call in enumerate(chunk.get("tool_call_chunks") or ()):
        index = call.get("index")
        yield ("call", number if index is None else index), {**call, "type": "tool_call_chunk"}


def _standard(content: list[Any]) -> list[Block]:
    """Return providers' blocks as LangChain's standard blocks."""
    if all(isinstance(block, dict) and block.get("type") == "text" for block in content):
        return [dict(block) for block in content]
    try:
        return [dict(block) for block in AIMessageChunk(content=content).content_blocks]
    except Exception:
        # A block that LangChain does not know is passed on in the provider's form.
        return [{"type": "non_standard", "value": block} for block in content]


def _grow(grown: Block, piece: Block) -> None:
    field = _GROWING.get(grown.get("type", ""))
    if field is None or grown.get("type") != piece.get("type"):
        grown.update(piece)
        return
    text = (grown.get(field) or "") + (piece.get(field) or "")
    # Fields that arrive later (a name, an annotation) are added; fields that are not repeated are kept.
    grown.update({key: value for key, value in piece.items() if value is not None})
    grown[field] = text


def _skeleton(block: Block) -> Block:
    field = _GROWING.get(block.get("type", ""))
    if field is not None and block["type"] not in _MEDIA:
        # Without the provider's index, which clients would take for the protocol's. A tool call keeps it, since it
        # distinguishes calls.
        dropped = {"annotations"} if block["type"] == "tool_call_chunk" else {"annotations", "index"}
        return {**{key: value for key, value in block.items() if key not in dropped}, field: ""}
    start = {key: value for key, value in block.items() if key not in _HEAVY}
    if block.get("type") in ("tool_call", "server_tool_call"):
        start["args"] = {}
    elif block.get("type") == "non_standard":
        start["value"] = {}
    return start


def _delta(block: Block) -> Block | None:
    kind = block.get("type", "")
    field = _GROWING.get(kind)
    if field is None or not block.get(field):
        return None
    if kind in _MEDIA:
        # Clients collect the bytes of media only from deltas; the finish event has them too, for clients that keep
        # whole blocks.
        return {"type": "data-delta", "data": block[field], "encoding": "base64"}
    return {"type": _DELTAS[kind], field: block[field]}


def _finished(block: Block) -> Block:
    if block.get("type") != "tool_call_chunk":
        return {key: value for key, value in block.items() if key != "index"}
    raw, call = block.get("args") or "", {"id": block.get("id"), "name": block.get("name")}
    try:
        args = orjson.loads(raw or "{}")
    except orjson.JSONDecodeError:
        args = None
    if not isinstance(args, dict):
        return {"type": "invalid_tool_call", **call, "args": raw, "error": "the arguments are not a JSON object"}
    return {"type": "tool_call", **call, "args": args}
