"""A chat model that follows a script: no key, no download, and everything an agent asks of a real one.

What it says next is a function of the message history and of nothing else, so a run that was killed and resumed says
what it would have said anyway. It streams token by token, tool calls too, binds tools and reports usage.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, TypeAlias

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolCallChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable

Script: TypeAlias = Callable[[Sequence[BaseMessage]], AIMessage]
"""The next message, from the history. Must give the same answer to the same history."""


def turns(*messages: AIMessage) -> Script:
    """Say ``messages`` in their order; the last one again and again after that."""

    def next_message(history: Sequence[BaseMessage]) -> AIMessage:
        said = sum(isinstance(message, AIMessage) for message in history)
        return messages[min(said, len(messages) - 1)]

    return next_message


class ScriptedChatModel(BaseChatModel):
    """Says what ``script`` says, one token every ``delay`` seconds."""

    script: Script
    delay: float = 0.0

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
        # The script decides what is called; binding only has to be possible.
        return self.bind(tools=list(tools), **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        said = self.script(messages)
        message = AIMessage(said.text, tool_calls=said.tool_calls, usage_metadata=_usage(messages, _pieces(said)))
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
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
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in _chunks(messages, self.script(messages)):
            await asyncio.sleep(self.delay)
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


def _pieces(said: AIMessage) -> list[AIMessageChunk]:
    """The message in tokens: its words, then each tool call's name, then its arguments bit by bit."""
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
    # Usage comes once, at the end: readers add the chunks' usage up.
    last = AIMessageChunk(content="", usage_metadata=_usage(history, pieces), chunk_position="last")
    yield ChatGenerationChunk(message=last)


def _usage(history: Sequence[BaseMessage], pieces: Sequence[AIMessageChunk]) -> UsageMetadata:
    read = sum(len(message.text.split()) for message in history)
    return UsageMetadata(input_tokens=read, output_tokens=len(pieces), total_tokens=read + len(pieces))
