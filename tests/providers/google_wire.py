"""Google's generateContent, as `google-genai` and `langchain-google-genai` use it over REST."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from .script import Answer, Prompt, PromptMessage, ScriptedAnswers


def google_routes(answers: ScriptedAnswers) -> list[Route]:
    """Return the routes below the base URL."""

    async def generate(request: Request) -> Response:
        model, _, method = request.path_params["call"].partition(":")
        prompt = google_prompt(model, await request.json())
        answer = await answers.answer(prompt)
        if isinstance(answer, int):
            error = {"code": answer, "message": "The model is overloaded.", "status": "UNAVAILABLE"}
            return JSONResponse({"error": error}, answer)
        if method == "generateContent":
            await answer.whole()
            return JSONResponse(google_response(prompt, answer, google_parts(answer), True))
        assert method == "streamGenerateContent", method
        return StreamingResponse(_events(prompt, answer), media_type="text/event-stream")

    return [Route("/{version}/models/{call:path}", generate, methods=["POST"])]


def google_prompt(model: str, body: dict[str, Any]) -> Prompt:
    """Return the prompt of a request, in the JSON form that REST and gRPC share."""
    messages: list[PromptMessage] = []
    for content in body["contents"]:
        parts = content.get("parts", [])
        text = "".join(part.get("text", "") for part in parts)
        if content.get("role") == "model":
            messages.append(PromptMessage("assistant", text))
            continue
        results = [part["functionResponse"] for part in parts if "functionResponse" in part]
        messages += [PromptMessage("tool", _result(each["response"])) for each in results]
        if text or not results:
            messages.append(PromptMessage("human", text))
    system = "\n".join(part.get("text", "") for part in body.get("systemInstruction", {}).get("parts", []))
    calling = body.get("toolConfig", {}).get("functionCallingConfig", {})
    allowed = calling.get("allowedFunctionNames") or [] if calling.get("mode") == "ANY" else []
    return Prompt("google", model, system, messages, allowed[0] if len(allowed) == 1 else None)


async def google_chunks(prompt: Prompt, answer: Answer) -> AsyncIterator[dict[str, Any]]:
    """Yield the responses of a stream."""
    parts = [*({"text": token} for token in answer.tokens), *_call_parts(answer)]
    async for part in answer.paced(parts):
        yield google_response(prompt, answer, [part], part is parts[-1])


def google_response(prompt: Prompt, answer: Answer, parts: list[dict[str, Any]], is_last: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    asked, said = len(prompt.text.split()), len(answer.tokens) + 8 * len(answer.calls)
    usage = {"promptTokenCount": asked, "candidatesTokenCount": said, "totalTokenCount": asked + said}
    if is_last:
        candidate["finishReason"] = "STOP"
    return {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": prompt.model.removeprefix("models/"),
        "responseId": prompt.digest[:22],
    }


async def _events(prompt: Prompt, answer: Answer) -> AsyncIterator[str]:
    async for chunk in google_chunks(prompt, answer):
        yield f"data: {json.dumps(chunk)}\r\n\r\n"


def google_parts(answer: Answer) -> list[dict[str, Any]]:
    """Return the parts of a response that is not streamed."""
    return [*([{"text": answer.text}] if answer.text else []), *_call_parts(answer)]


def _call_parts(answer: Answer) -> list[dict[str, Any]]:
    return [{"functionCall": {"name": call.name, "args": call.arguments}} for call in answer.calls]


def _result(response: dict[str, Any]) -> str:
    (value,) = response.values() if len(response) == 1 else (json.dumps(response),)
    return value if isinstance(value, str) else json.dumps(value)
