"""The fake providers, called by the real client libraries.

These are imported by the tests that use them: it takes seconds, in every process that collects the tests.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel, SecretStr

from . import mcp_stdio
from .running import Providers
from .script import embedding

# The SDKs share their HTTP clients within a process, and those belong to one event loop.
pytestmark = pytest.mark.asyncio(loop_scope="module")


class City(BaseModel):
    """A city."""

    name: str


@tool
def weather(city: str) -> str:
    """Return the weather of a city."""
    return f"sunny in {city}"


@pytest.fixture(params=["openai", "anthropic", "google"])
def model(request: pytest.FixtureRequest, providers: Providers) -> BaseChatModel:
    environ, key = providers.environ, SecretStr("fake")
    match request.param:
        case "openai":
            from langchain_openai import ChatOpenAI

            return ChatOpenAI(model="gpt-x", base_url=environ["OPENAI_BASE_URL"], api_key=key, stream_usage=True)
        case "anthropic":
            from langchain_anthropic import ChatAnthropic

            return ChatAnthropic(
                model_name="claude-x", timeout=30, stop=None, base_url=environ["ANTHROPIC_BASE_URL"], api_key=key
            )
        case _:
            from langchain_google_genai import ChatGoogleGenerativeAI

            url = environ["GOOGLE_GEMINI_BASE_URL"]
            return ChatGoogleGenerativeAI(model="gemini-x", base_url=url, api_key=key, vertexai=False)


def scripted(*lines: str, text: str = "hi") -> HumanMessage:
    return HumanMessage("\n".join([text, "<script>", *lines, "</script>"]))


async def test_text_without_a_script_is_echoed_token_by_token(model: BaseChatModel) -> None:
    chunks = [chunk async for chunk in model.astream("hello to you all")]
    texts = [chunk.text for chunk in chunks if chunk.text]
    assert len(texts) == 5
    assert "".join(texts) == "echo: hello to you all"
    assert (await model.ainvoke("hello")).text == "echo: hello"


async def test_usage_is_reported(model: BaseChatModel) -> None:
    whole = await model.ainvoke("hello to you all")
    assert whole.usage_metadata == {**(whole.usage_metadata or {}), "output_tokens": 5}
    added: Any = AIMessageChunk(content="")
    async for chunk in model.astream("hello to you all"):
        added += chunk
    assert added.usage_metadata is not None
    assert added.usage_metadata["output_tokens"] == 5
    assert added.usage_metadata["input_tokens"] > 0


async def test_tools_are_called_and_their_results_are_used(model: BaseChatModel) -> None:
    asked = scripted('call weather {"city": "Rome"}', 'also weather {"city": "Oslo"}', "say It is {tools}.")
    bound = model.bind_tools([weather])
    streamed: Any = AIMessageChunk(content="")
    async for chunk in bound.astream([asked]):
        streamed += chunk
    said = await bound.ainvoke([asked])
    for message in (streamed, said):
        assert [call["args"] for call in message.tool_calls] == [{"city": "Rome"}, {"city": "Oslo"}]
        assert len({call["id"] for call in message.tool_calls}) == 2
    results = [ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"]) for call in said.tool_calls]
    assert (await bound.ainvoke([asked, said, *results])).text == "It is sunny in Rome; sunny in Oslo."


async def test_structured_output_is_given(model: BaseChatModel) -> None:
    asked: Any = [SystemMessage('<script>\njson {"name": "{input}"}\n</script>'), HumanMessage("Rome")]
    assert await model.with_structured_output(City).ainvoke(asked) == City(name="Rome")


async def test_failures_are_counted_and_clients_try_again(model: BaseChatModel, providers: Providers) -> None:
    name = type(model).__name__
    before = len(providers.answers.prompts)
    assert (await model.ainvoke([scripted("fail 503 1", f"say fine, {name}", text=name)])).text == f"fine, {name}"
    assert len(providers.answers.prompts) - before == 2


async def test_answer_is_held_until_it_is_released(model: BaseChatModel, providers: Providers) -> None:
    key = f"held {type(model).__name__}"
    asking = asyncio.create_task(model.ainvoke([scripted(f"hold {key}", "say at last")]))
    await asyncio.to_thread(providers.answers.wait_held, key)
    assert not asking.done()
    providers.answers.release(key)
    assert (await asking).text == "at last"


async def test_answer_is_held_in_the_middle(model: BaseChatModel, providers: Providers) -> None:
    text = f"middle {type(model).__name__}"
    hold = providers.answers.hold(text, after=1)
    assert (await model.ainvoke(text)).text == f"echo: {text}"
    chunks: list[str] = []

    async def ask() -> None:
        chunks.extend([chunk.text async for chunk in model.astream(f"again {text}")])

    asking = asyncio.create_task(ask())
    await hold.reached()
    assert not asking.done()
    hold.release()
    await asking
    assert "".join(chunks) == f"echo: again {text}"
    assert providers.answers.asked(text) == 2


async def test_script_may_refer_to_a_part_of_the_prompt(model: BaseChatModel) -> None:
    known: Any = [SystemMessage("You know <facts>the sky is blue</facts>."), scripted("say {input}: {tag:facts}")]
    assert (await model.ainvoke(known)).text == "hi: the sky is blue"


async def test_embeddings_of_similar_texts_are_near(providers: Providers) -> None:
    from langchain_openai import OpenAIEmbeddings

    url = providers.environ["OPENAI_BASE_URL"]
    model = OpenAIEmbeddings(base_url=url, api_key=SecretStr("fake"), check_embedding_ctx_length=False)
    one, near, far = await model.aembed_documents(["Ada likes tea", "tea for Ada", "the moon is far"])
    assert one == pytest.approx(embedding("Ada likes tea"), abs=1e-6)
    assert sum(map(float.__mul__, one, near)) > sum(map(float.__mul__, one, far))


@pytest.mark.parametrize("transport", ["streamable_http", "stdio"])
async def test_mcp_tools_are_called(transport: str, providers: Providers) -> None:
    from langchain_mcp_adapters.client import MultiServerMCPClient

    http: Any = {"transport": "streamable_http", "url": providers.mcp_url}
    stdio: Any = {"transport": "stdio", "command": sys.executable, "args": ["-S", "-E", str(Path(mcp_stdio.__file__))]}
    client = MultiServerMCPClient({"fake": http if transport == "streamable_http" else stdio})
    tools = {each.name: each for each in await client.get_tools()}
    assert tools.keys() == {"add", "lookup"}
    (block,) = await tools["add"].ainvoke({"a": 2, "b": 3})
    assert block["text"] == "5"


async def test_google_streams_over_grpc(google_grpc_address: str) -> None:
    import grpc
    from google.ai.generativelanguage_v1beta import Content, GenerateContentRequest, GenerativeServiceAsyncClient, Part
    from google.ai.generativelanguage_v1beta.services.generative_service.transports import (
        GenerativeServiceGrpcAsyncIOTransport,
    )

    channel = grpc.aio.insecure_channel(google_grpc_address)
    client = GenerativeServiceAsyncClient(transport=GenerativeServiceGrpcAsyncIOTransport(channel=channel))
    request = GenerateContentRequest(model="models/x", contents=[Content(role="user", parts=[Part(text="hello you")])])
    stream = await client.stream_generate_content(request)
    chunks = [chunk async for chunk in stream]
    assert [chunk.candidates[0].content.parts[0].text for chunk in chunks] == ["echo:", " hello", " you"]
    assert chunks[-1].usage_metadata.candidates_token_count == 3
    whole = await client.generate_content(request)
    assert whole.candidates[0].content.parts[0].text == "echo: hello you"
    await channel.close()
