"""Google's GenerativeService over gRPC, as `google-ai-generativelanguage` uses it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from google.ai.generativelanguage_v1beta import GenerateContentRequest, GenerateContentResponse

from .google_wire import google_chunks, google_parts, google_prompt, google_response
from .script import Answer, Prompt, ScriptedAnswers

_SERVICE = "google.ai.generativelanguage.v1beta.GenerativeService"


@contextmanager
def google_grpc_running(answers: ScriptedAnswers) -> Iterator[str]:
    """Yield the ``host:port`` of a server without TLS, in its own thread."""
    loop, addresses = asyncio.new_event_loop(), list[str]()
    thread = threading.Thread(target=loop.run_forever, name="google-grpc", daemon=True)
    thread.start()

    async def start() -> Any:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((_handlers(answers),))
        addresses.append(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
        await server.start()
        return server

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield addresses[0]
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(0), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def _handlers(answers: ScriptedAnswers) -> Any:
    async def asked(request: Any, context: Any) -> tuple[Prompt, Answer]:
        body = GenerateContentRequest.to_dict(request, use_integers_for_enums=False, preserving_proto_field_name=False)
        prompt = google_prompt(request.model, body)
        answer = await answers.answer(prompt)
        if isinstance(answer, int):
            await context.abort(grpc.StatusCode.UNAVAILABLE, "The model is overloaded.")
            raise AssertionError("aborted")
        return prompt, answer

    async def generate(request: Any, context: Any) -> Any:
        prompt, answer = await asked(request, context)
        await answer.whole()
        return _message(google_response(prompt, answer, google_parts(answer), True))

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        prompt, answer = await asked(request, context)
        async for chunk in google_chunks(prompt, answer):
            yield _message(chunk)

    coding: dict[str, Any] = {
        "request_deserializer": GenerateContentRequest.deserialize,
        "response_serializer": GenerateContentResponse.serialize,
    }
    methods = {
        "GenerateContent": grpc.unary_unary_rpc_method_handler(generate, **coding),
        "StreamGenerateContent": grpc.unary_stream_rpc_method_handler(stream, **coding),
    }
    return grpc.method_handlers_generic_handler(_SERVICE, methods)


def _message(response: dict[str, Any]) -> Any:
    known = {key: value for key, value in response.items() if key != "responseId"}
    return GenerateContentResponse.from_json(json.dumps(known))
