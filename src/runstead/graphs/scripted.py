"""Scripted chat model, which needs no API key and no download, and supports everything that an agent needs.

Its next message depends only on the message history, so that a run that was killed and resumed says the same as without
the kill. It streams token by token, including tool calls, binds tools and reports usage.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TypeAlias

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolCallChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable

Script: TypeAlias = Callable[[Sequence[BaseMessage]], AIMessage]
"""Function from the history to the next message. Must return the same message for the same history."""


def turns(*messages: AIMessage) -> Script:
    """Return a script that says ``messages`` in order, and repeats the last one after that."""

    def next_message(history: Sequence[BaseMessage]) -> AIMessage:
        said = sum(isinstance(message, AIMessage) for message in history)
        return messages[min(said, len(messages) - 1)]

    return next_message


class ScriptedChatModel(BaseChatModel):
    """Chat model that says the messages of ``script``, one token every ``delay`` seconds."""

    script: Script
    delay: float = 0.0
    model_name: str = "scripted"

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[object], **kwargs: object) -> Runnable[LanguageModelInput, AIMessage]:
        # The script decides about tool calls; binding only has to be possible.
        return self.bind(tools=list(tools), **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: object,
    ) -> ChatResult:
        said = self.script(messages)
        message = AIMessage(said.text, tool_calls=said.tool_calls, usage_metadata=_usage(messages, _pieces(said)))
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: object,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in _chunks(messages, self.script(messages)):
            time.sleep(self.delay)
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: object,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in _chunks(messages, self.script(messages)):
            await asyncio.sleep(self.delay)
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


def _pieces(said: AIMessage) -> list[AIMessageChunk]:
    """Return the message in tokens: its words, then each tool call's name, then its arguments in pieces."""
    pieces = [AIMessageChunk(content=word) for word in re.findall(r"\s*\S+|\s+$", said.text)]
    for index, call in enumerate(said.tool_calls):
        bits = re.findall(r".{1,12}", json.dumps(call["args"]))
        opening = ToolCallChunk(name=call["name"], args="", id=call["id"], index=index, type="tool_call_chunk")
        pieces.append(AIMessageChunk(content="", tool_call_chunks=[opening]))
        for bit in bits:
            more = ToolCallChunk(name=None, args=bit, id=None, index=index, type="tool_call_chunk")
            pieces.append(AIMessageChunk(content="", tool_call_chunks=[more]))
    return pieces


def _chunks(history: Sequence[BaseMessage], said: AIMessage) -> Iterator[ChatGenerationChunk]:
    pieces = _pieces(said)
    for piece in pieces:
        yield ChatGenerationChunk(message=piece)
    # Usage is reported once, at the end, since readers add up the chunks' usage.
    last = AIMessageChunk(content="", usage_metadata=_usage(history, pieces), chunk_position="last")
    yield ChatGenerationChunk(message=last)


def _usage(history: Sequence[BaseMessage], pieces: Sequence[AIMessageChunk]) -> UsageMetadata:
    read = sum(len(message.text.split()) for message in history)
    return UsageMetadata(input_tokens=read, output_tokens=len(pieces), total_tokens=read + len(pieces))
