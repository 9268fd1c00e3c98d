"""langgraph's RemoteGraph, unmodified: a graph of the server, used like a local one."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import uuid4

import pytest
from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.pregel.remote import RemoteException, RemoteGraph
from langgraph.types import Command
from langgraph_sdk.errors import NotFoundError, UnprocessableEntityError
from typing_extensions import TypedDict

from .flavours import Flavour, remote_of
from .test_runs import HELLO, collect, texts

ECHOED = ["hi there", "echo: hi there"]


def somewhere() -> RunnableConfig:
    """The config of a thread that does not exist yet."""
    return {"configurable": {"thread_id": str(uuid4())}}


@pytest.fixture
def remote(flavour: Flavour, url: str) -> Any:
    """Return a remote graph of either kind: ``remote("agent").invoke(...)`` is awaited in both cases."""
    return lambda name, **options: remote_of(flavour, RemoteGraph(name, url=url, **options))


class TestInvoke:
    async def test_with_and_without_a_thread(self, remote: Any) -> None:
        agent, place = remote("agent"), somewhere()
        assert texts(await agent.invoke(HELLO)) == ECHOED
        assert texts(await agent.invoke(HELLO, place)) == ECHOED
        assert texts(await agent.invoke(HELLO, place)) == ECHOED * 2

    async def test_version_v2_output_form(self, remote: Any) -> None:
        output = await remote("hitl").invoke(HELLO, somewhere(), version="v2")
        assert texts(output.value) == ["hi there"]
        assert [one.value for one in output.interrupts] == [{"question": "approve?"}]

    async def test_context_config_and_metadata_reach_the_run(self, remote: Any) -> None:
        graph = remote("ctx", config={"tags": ["mine"]})
        seen = (await graph.invoke({}, context={"color": "blue"}))["seen"]
        assert (seen["context"], seen["tags"]) == ({"color": "blue"}, ["mine"])
        other = graph.with_config(configurable={"color": "red"}, metadata={"of": "them"}, tags=["too"])
        seen = (await other.invoke({}, {"metadata": {"a": 1}}))["seen"]
        assert seen["configurable"]["color"] == "red"
        assert seen["tags"] == ["mine", "too"]
        assert (seen["metadata"]["of"], seen["metadata"]["a"]) == ("them", 1)
        limited = remote("slow").with_config(recursion_limit=3)
        with pytest.raises(RemoteException, match="GraphRecursionError"):
            await limited.invoke({"steps": 10, "delay": 0.001})

    async def test_configured_headers_reach_the_run(self, remote: Any) -> None:
        seen = (await remote("ctx").invoke({}, headers={"x-tenant": "acme"}))["seen"]
        assert seen["configurable"]["x-tenant"] == "acme"

    async def test_error_of_the_graph(self, remote: Any) -> None:
        with pytest.raises(RemoteException) as raised:
            await remote("fail").invoke(HELLO)
        assert raised.value.args == ({"error": "ValueError", "message": "boom"},)

    async def test_unknown_graph_is_refused(self, remote: Any) -> None:
        with pytest.raises(UnprocessableEntityError, match="Invalid assistant: 'nope'"):
            await remote("nope").invoke(HELLO)
        with pytest.raises(NotFoundError):
            await remote(str(uuid4())).invoke(HELLO)


class TestStream:
    async def test_values(self, remote: Any) -> None:
        seen = await collect(remote("agent").stream(HELLO, stream_mode="values"))
        assert [texts(values) for values in seen] == [["hi there"], ECHOED]

    async def test_default_stream_mode_is_updates(self, remote: Any) -> None:
        seen = await collect(remote("nested").stream(HELLO))
        assert [list(update) for update in seen] == [["before"], ["child"]]

    @pytest.mark.parametrize("mode", ["messages", ["messages-tuple"]])
    async def test_messages(self, remote: Any, mode: Any) -> None:
        seen = await collect(remote("agent").stream(HELLO, stream_mode=mode))
        pieces = seen if mode == "messages" else [part.data for part in seen]
        assert "".join(message["content"] for message, _ in pieces) == "echo: hi there"
        assert {metadata["langgraph_node"] for _, metadata in pieces} == {"model"}

    async def test_custom_data(self, remote: Any) -> None:
        assert await collect(remote("nested").stream(HELLO, stream_mode="custom")) == [{"progress": "parent"}]

    @pytest.mark.parametrize(("mode", "count"), [("tasks", 4), ("checkpoints", 4), ("debug", 8)])
    async def test_other_modes(self, remote: Any, mode: str, count: int) -> None:
        assert len(await collect(remote("nested").stream(HELLO, stream_mode=mode))) == count

    async def test_several_modes(self, remote: Any) -> None:
        seen = await collect(remote("agent").stream(HELLO, stream_mode=["values", "messages"]))
        assert [part.event for part in seen] == ["values", *["messages"] * 5, "values"]

    async def test_subgraphs(self, remote: Any) -> None:
        seen = await collect(remote("nested").stream(HELLO, stream_mode=["custom", "updates"], subgraphs=True))
        told = [([part.partition(":")[0] for part in place], mode, data) for place, mode, data in seen]
        assert [(place, mode) for place, mode, _ in told] == [
            ([], "custom"),
            ([], "updates"),
            (["child"], "custom"),
            (["child"], "updates"),
            ([], "updates"),
        ]
        one_mode = await collect(remote("nested").stream(HELLO, stream_mode="custom", subgraphs=True))
        assert [(len(place), data) for place, data in one_mode] == [
            (0, {"progress": "parent"}),
            (1, {"progress": "child"}),
        ]

    async def test_version_v2_output_form(self, remote: Any) -> None:
        seen = await collect(remote("hitl").stream(HELLO, somewhere(), stream_mode=["values", "updates"], version="v2"))
        assert [part["type"] for part in seen] == ["values", "updates", "values"]
        assert [one.value for one in seen[2]["interrupts"]] == [{"question": "approve?"}]

    async def test_breakpoints(self, remote: Any) -> None:
        agent, place = remote("agent"), somewhere()
        assert await collect(agent.stream(HELLO, place, interrupt_before=["model"])) == [{"__interrupt__": []}]
        assert (await agent.get_state(place)).next == ("model",)
        assert texts(await agent.invoke(None, place)) == ECHOED

    async def test_error_after_successful_events(self, remote: Any) -> None:
        seen: list[Any] = []

        async def read() -> None:
            async for update in remote("fail").stream(HELLO):
                seen.append(update)

        with pytest.raises(RemoteException, match="boom"):
            await read()
        assert [list(update) for update in seen] == [["ok"]]


class TestInterrupts:
    async def test_interrupt_is_resumed(self, remote: Any) -> None:
        graph, place = remote("hitl"), somewhere()
        (asked,) = await collect(graph.stream(HELLO, place))
        assert [one["value"] for one in asked["__interrupt__"]] == [{"question": "approve?"}]
        assert (await graph.invoke(Command(resume="yes"), place))["answer"] == "yes"
        assert (await graph.get_state(place)).next == ()

    async def test_two_interrupts_are_resumed_by_their_ids(self, remote: Any) -> None:
        graph, place = remote("multi"), somewhere()
        await graph.invoke({}, place)
        asked = (await graph.get_state(place)).interrupts
        answers = {one.id: one.value.upper() for one in asked}
        assert sorted((await graph.invoke(Command(resume=answers), place))["answers"]) == ["a=A?", "b=B?"]

    async def test_command_updates_the_state_and_jumps_to_a_node(self, remote: Any) -> None:
        graph, place = remote("hitl"), somewhere()
        await graph.invoke(HELLO, place)
        output = await graph.invoke(Command(update={"answer": "by hand"}, goto="finish"), place)
        assert texts(output)[-1] == "answer=by hand"


class TestState:
    async def test_state_is_read_updated_and_continued_from(self, remote: Any) -> None:
        graph, place = remote("agent"), somewhere()
        await graph.invoke(HELLO, place, metadata={"turn": 1})
        state = await graph.get_state(place)
        assert (texts(state.values), state.next) == (ECHOED, ())
        assert state.config["configurable"]["thread_id"] == place["configurable"]["thread_id"]
        more = {"messages": [{"role": "human", "content": "more"}]}
        changed = await graph.update_state(place, more, as_node="model")
        assert texts((await graph.get_state(place)).values) == [*ECHOED, "more"]
        assert texts((await graph.get_state(changed)).values) == [*ECHOED, "more"]
        assert (await graph.get_state(place)).parent_config["configurable"]["checkpoint_id"] == state.config[
            "configurable"
        ]["checkpoint_id"]
        # From before the update, on its own branch.
        await graph.update_state(state.config, {"messages": [{"role": "human", "content": "other"}]}, as_node="model")
        assert texts((await graph.get_state(place)).values) == [*ECHOED, "other"]

    async def test_state_has_a_history(self, remote: Any) -> None:
        graph, place = remote("slow"), somewhere()
        await graph.invoke({"steps": 2, "delay": 0.001}, place)
        history = await collect(graph.get_state_history(place))
        assert [state.values.get("done") for state in history] == [2, 1, None, None]
        assert len(await collect(graph.get_state_history(place, limit=1))) == 1
        assert len(await collect(graph.get_state_history(place, before=history[1].config))) == 2
        assert len(await collect(graph.get_state_history(place, filter={"source": "input"}))) == 1
        # A run can also start from any of it; the client ignores the checkpoint that a config names.
        again = history[1].config["configurable"]["checkpoint_id"]
        assert (await graph.invoke(None, place, checkpoint_id=again))["done"] == 2
        assert [
            (state.metadata["source"], state.values["done"])
            for state in await collect(graph.get_state_history(place, limit=2))
        ] == [("loop", 2), ("fork", 1)]

    async def test_state_of_subgraphs(self, remote: Any) -> None:
        graph, place = remote("nested_hitl"), somewhere()
        await graph.invoke(HELLO, place)
        (task,) = (await graph.get_state(place, subgraphs=True)).tasks
        assert task.state.next == ("ask",)
        (plain,) = (await graph.get_state(place)).tasks
        assert (await graph.get_state(plain.state)).next == ("ask",)
        assert [state.next for state in await collect(graph.get_state_history(plain.state))] == [
            ("ask",),
            ("__start__",),
        ]
        assert [one.value for one in plain.interrupts] == [{"question": "approve?"}]

    async def test_state_of_a_failed_task_has_its_error(self, remote: Any) -> None:
        graph, place = remote("fail"), somewhere()
        with pytest.raises(RemoteException):
            await graph.invoke(HELLO, place)
        (task,) = (await graph.get_state(place)).tasks
        assert (task.name, "boom" in str(task.error)) == ("boom", True)

    async def test_state_of_an_unknown_thread_is_not_found(self, remote: Any) -> None:
        with pytest.raises(NotFoundError):
            await remote("agent").get_state(somewhere())


class TestGraph:
    async def test_graph_is_drawn(self, remote: Any) -> None:
        drawn = await remote("nested").get_graph()
        assert list(drawn.nodes) == ["__start__", "before", "child", "__end__"]
        assert "before --> child" in drawn.draw_mermaid()
        assert "child:child_model" in (await remote("nested").get_graph(xray=True)).nodes

    async def test_operations_missing_in_the_client_raise(self, remote: Any) -> None:
        """Methods of a local graph: the client raises before it sends a request."""
        with pytest.raises(NotImplementedError):
            await remote("agent").bulk_update_state(somewhere(), [])
        assert not hasattr(RemoteGraph, "get_subgraphs")


class Chat(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    answer: str


class TestAsANodeOfALocalGraph:
    @pytest.fixture
    def local(self, flavour: Flavour, url: str) -> Any:
        def made(name: str) -> Any:
            graph = StateGraph(Chat).add_node("first", lambda _: {"messages": [("ai", "first")]})
            graph.add_node("remote", RemoteGraph(name, url=url)).add_edge(START, "first").add_edge("first", "remote")
            return remote_of(flavour, graph.compile(checkpointer=InMemorySaver()))

        return made

    async def test_remote_output_becomes_the_output_of_the_node(self, local: Any) -> None:
        output = await local("nested").invoke(HELLO, somewhere())
        assert [message.text for message in output["messages"]] == ["hi there", "first", "from parent", "from child"]
        assert [message.type for message in output["messages"]] == ["human", "ai", "ai", "ai"]

    async def test_remote_events_are_streamed_through(self, local: Any) -> None:
        seen = await collect(
            local("nested").stream(HELLO, somewhere(), stream_mode=["custom", "messages", "updates"], subgraphs=True)
        )
        depths = [([part.partition(":")[0] for part in place], mode) for place, mode, _ in seen]
        assert [place for place, mode in depths if mode == "custom"] == [["remote"], ["remote", "child"]]
        assert [place for place, mode in depths if mode == "updates"] == [
            [],
            ["remote"],
            ["remote", "child"],
            ["remote"],
            [],
        ]
        tokens = [data[0]["content"] for place, mode, data in seen if mode == "messages" and len(place) == 2]
        assert "".join(tokens) == "from child"

    async def test_remote_interrupt_stops_the_local_graph(self, local: Any, remote: Any) -> None:
        """The remote graph is on the thread of the same id: the interrupt is answered there, and the local graph is
        updated.
        """
        graph, place = local("hitl"), somewhere()
        stopped = await graph.invoke(HELLO, place)
        assert [one.value for one in stopped["__interrupt__"]] == [{"question": "approve?"}]
        assert (await graph.get_state(place)).next == ("remote",)
        answered = await remote("hitl").invoke(Command(resume="yes"), place)
        assert answered["answer"] == "yes"
        await graph.update_state(place, answered, as_node="remote")
        assert (await graph.get_state(place)).values["answer"] == "yes"
        assert (await graph.get_state(place)).next == ()

    async def test_remote_error_fails_the_local_graph(self, local: Any) -> None:
        with pytest.raises(RemoteException, match="boom"):
            await local("fail").invoke(HELLO, somewhere())
