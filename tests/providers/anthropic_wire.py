"""Anthropic's messages API, as `anthropic` and `langchain-anthropic` use it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from .script import Answer, Prompt, PromptMessage, ScriptedAnswers


def anthropic_routes(answers: ScriptedAnswers) -> list[Route]:
    """Return the routes below the base URL."""

    async def create_message(request: Request) -> Response:
        body = await request.json()
        prompt = _prompt(body)
        answer = await answers.answer(prompt)
        if isinstance(answer, int):
            kind = "overloaded_error" if answer == 529 else "api_error"
            return JSONResponse({"type": "error", "error": {"type": kind, "message": "Internal server error"}}, answer)
        if not body.get("stream"):
            await answer.whole()
            return JSONResponse(_message(prompt, answer))
        return StreamingResponse(_events(prompt, answer), media_type="text/event-stream; charset=utf-8")

    async def count_tokens(request: Request) -> Response:
        return JSONResponse({"input_tokens": len(_prompt(await request.json()).text.split())})

    return [
        Route("/v1/messages", create_message, methods=["POST"]),
        Route("/v1/messages/count_tokens", count_tokens, methods=["POST"]),
    ]


def _prompt(body: dict[str, Any]) -> Prompt:
    messages = []
    for message in body["messages"]:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        text = "".join(block["text"] for block in blocks if block["type"] == "text")
        if message["role"] == "assistant":
            messages.append(PromptMessage("assistant", text))
            continue
        results = [block for block in blocks if block["type"] == "tool_result"]
        messages += [PromptMessage("tool", _text(block.get("content"))) for block in results]
        if text or not results:
            messages.append(PromptMessage("human", text))
    choice = body.get("tool_choice") or {}
    return Prompt("anthropic", body["model"], _text(body.get("system")), messages, choice.get("name"))


def _text(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(block.get("text", "") for block in content)


def _message(prompt: Prompt, answer: Answer) -> dict[str, Any]:
    return {**_head(prompt), "content": _blocks(answer), "stop_reason": _stop(answer), "usage": _usage(prompt, answer)}


def _head(prompt: Prompt) -> dict[str, Any]:
    return {
        "id": f"msg_{prompt.digest[:24]}",
        "type": "message",
        "role": "assistant",
        "model": prompt.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _blocks(answer: Answer) -> list[dict[str, Any]]:
    texts = [{"type": "text", "text": answer.text}] if answer.text else []
    calls = [
        {"type": "tool_use", "id": f"toolu_{call.id[5:]}", "name": call.name, "input": call.arguments}
        for call in answer.calls
    ]
    return [*texts, *calls]


async def _events(prompt: Prompt, answer: Answer) -> AsyncIterator[str]:
    usage = _usage(prompt, answer)
    yield _event("message_start", message={**_head(prompt), "usage": {**usage, "output_tokens": 1}})
    for index, block in enumerate(_blocks(answer)):
        is_text = block["type"] == "text"
        empty = {**block, "text": ""} if is_text else {**block, "input": {}}
        yield _event("content_block_start", index=index, content_block=empty)
        if index == 0:
            yield _event("ping")
        async for delta in answer.paced(_text_deltas(answer) if is_text else _input_deltas(block["input"])):
            yield _event("content_block_delta", index=index, delta=delta)
        yield _event("content_block_stop", index=index)
    yield _event("message_delta", delta={"stop_reason": _stop(answer), "stop_sequence": None}, usage=usage)
    yield _event("message_stop")


def _text_deltas(answer: Answer) -> list[dict[str, Any]]:
    return [{"type": "text_delta", "text": token} for token in answer.tokens]


def _input_deltas(arguments: Any) -> list[dict[str, Any]]:
    text = json.dumps(arguments)
    pieces = ["", *(text[start : start + 16] for start in range(0, len(text), 16))]
    return [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]


def _event(kind: str, **fields: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n"


def _stop(answer: Answer) -> str:
    return "tool_use" if answer.calls else "end_turn"


def _usage(prompt: Prompt, answer: Answer) -> dict[str, Any]:
    return {
        "input_tokens": len(prompt.text.split()),
        "output_tokens": len(answer.tokens) + 8 * len(answer.calls),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "service_tier": "standard",
    }
