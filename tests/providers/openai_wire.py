"""OpenAI's chat completions and embeddings, as `openai` and `langchain-openai` use them."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from .script import Answer, Prompt, PromptMessage, ScriptedAnswers, embedding


def openai_routes(answers: ScriptedAnswers) -> list[Route]:
    """Return the routes below the base URL, which ends in ``/v1``."""

    async def complete(request: Request) -> Response:
        body = await request.json()
        prompt = _prompt(body)
        answer = await answers.answer(prompt)
        if isinstance(answer, int):
            error = {"message": "The server had an error", "type": "server_error", "param": None, "code": None}
            return JSONResponse({"error": error}, answer)
        if not body.get("stream"):
            await answer.whole()
            return JSONResponse(_completion(prompt, answer))
        with_usage = (body.get("stream_options") or {}).get("include_usage", False)
        return StreamingResponse(_events(prompt, answer, with_usage), media_type="text/event-stream; charset=utf-8")

    async def embed(request: Request) -> Response:
        body = await request.json()
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        vectors: list[Any] = [embedding(text, body.get("dimensions") or 64) for text in texts]
        if body.get("encoding_format") == "base64":
            vectors = [base64.b64encode(struct.pack(f"<{len(each)}f", *each)).decode() for each in vectors]
        data = [{"object": "embedding", "index": place, "embedding": each} for place, each in enumerate(vectors)]
        tokens = sum(len(text.split()) for text in texts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return JSONResponse({"object": "list", "data": data, "model": body["model"], "usage": usage})

    return [
        Route("/chat/completions", complete, methods=["POST"]),
        Route("/embeddings", embed, methods=["POST"]),
    ]


def _prompt(body: dict[str, Any]) -> Prompt:
    system, messages = [], []
    for message in body["messages"]:
        text = _text(message.get("content"))
        match message["role"]:
            case "system" | "developer":
                system.append(text)
            case "user":
                messages.append(PromptMessage("human", text))
            case "assistant":
                messages.append(PromptMessage("assistant", text))
            case "tool":
                messages.append(PromptMessage("tool", text))
    choice = body.get("tool_choice")
    forced = choice["function"]["name"] if isinstance(choice, dict) else None
    return Prompt("openai", body["model"], "\n".join(system), messages, forced)


def _text(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.get("text", "") for part in content)


def _head(prompt: Prompt, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{prompt.digest[:24]}",
        "object": kind,
        "created": 1_767_225_600,
        "model": prompt.model,
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
    }


def _completion(prompt: Prompt, answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None, "refusal": None, "annotations": []}
    if answer.calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
            }
            for call in answer.calls
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(answer)}
    return {**_head(prompt, "chat.completion"), "choices": [choice], "usage": _usage(prompt, answer)}


async def _events(prompt: Prompt, answer: Answer, with_usage: bool) -> AsyncIterator[str]:
    async for delta in _deltas(answer):
        yield _chunk(prompt, [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}])
    yield _chunk(prompt, [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": _finish(answer)}])
    if with_usage:
        yield _chunk(prompt, [], _usage(prompt, answer))
    yield "data: [DONE]\n\n"


async def _deltas(answer: Answer) -> AsyncIterator[dict[str, Any]]:
    pieces: list[dict[str, Any]] = [{"content": token} for token in answer.tokens]
    for index, call in enumerate(answer.calls):
        function = {"name": call.name, "arguments": ""}
        pieces.append({"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": function}]})
        text = json.dumps(call.arguments)
        starts = range(0, len(text), 16)
        arguments = [{"arguments": text[start : start + 16]} for start in starts]
        pieces += [{"tool_calls": [{"index": index, "function": each}]} for each in arguments]
    yield {"role": "assistant", "content": "" if answer.text or not answer.calls else None, "refusal": None}
    async for piece in answer.paced(pieces):
        yield piece


def _chunk(prompt: Prompt, choices: list[Any], usage: dict[str, Any] | None = None) -> str:
    return f"data: {json.dumps({**_head(prompt, 'chat.completion.chunk'), 'choices': choices, 'usage': usage})}\n\n"


def _finish(answer: Answer) -> str:
    return "tool_calls" if answer.calls else "stop"


def _usage(prompt: Prompt, answer: Answer) -> dict[str, Any]:
    asked, said = len(prompt.text.split()), len(answer.tokens) + 8 * len(answer.calls)
    return {
        "prompt_tokens": asked,
        "completion_tokens": said,
        "total_tokens": asked + said,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }
