"""Graphs are loaded from the user's files and built once per run, in whatever form the user wrote them."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel
from langgraph.store.memory import InMemoryStore

from runstead.graphs.configuration import GraphConfiguration, configuration_of
from runstead.graphs.factory import NoGraphReturned
from runstead.graphs.module_names import module_name
from runstead.graphs.modules import GraphLoadError
from runstead.graphs.registry import GraphRegistry
from runstead.graphs.sources import parse_source
from runstead.runtime.actor_context import ActorContext, acting
from runstead.runtime.runs.agents import AgentFactory, AgentResolver
from runstead.runtime.runs.exceptions import AgentNotFound

PRELUDE = """
from __future__ import annotations
import contextlib
from typing import TypedDict
from langchain_core.runnables import RunnableConfig
from langgraph.graph import StateGraph, START

class State(TypedDict, total=False):
    said: str

def builder(word: str = "hello"):
    return StateGraph(State).add_node("say", lambda state: {"said": word}).add_edge(START, "say")

def compiled(word: str = "hello"):
    return builder(word).compile()
"""


PROJECT_MODULES = ("agent", "main", "flavours", "desk", "src")


@pytest.fixture(autouse=True)
def _the_search_path_is_restored() -> Iterator[None]:
    before, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = before
    for name in set(sys.modules) - modules:
        if name.startswith(("runstead_graph_", "shop", "plain")) or name.partition(".")[0] in PROJECT_MODULES:
            del sys.modules[name]


def registry_of(directory: Path, code: str, variable: str = "graph") -> GraphRegistry:
    (directory / "agent.py").write_text(PRELUDE + textwrap.dedent(code))
    return GraphRegistry(configuration_of([f"agent.py:{variable}"], directory))


async def said_by(registry: GraphRegistry, config: Mapping[str, Any] | None = None) -> Any:
    (graph_id,) = registry.graph_ids
    async with registry.resolve(graph_id).build(config or {}, InMemoryStore()) as agent:
        agent = agent.compile() if isinstance(agent, StateGraph) else agent
        return (await agent.ainvoke({"said": ""}))["said"]


def test_registry_implements_the_agent_resolver(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, "graph = compiled()")
    resolver: AgentResolver = registry
    factory: AgentFactory = registry.resolve("graph")
    assert resolver.graph_ids == ("graph",)
    assert factory
    with pytest.raises(AgentNotFound, match="'unknown'; registered graphs: graph"):
        registry.resolve("unknown")


@pytest.mark.parametrize(
    "code",
    [
        "graph = compiled()",
        "graph = builder()",
        "def graph(): return compiled()",
        "def graph(): return builder()",
        "async def graph(): return compiled()",
        "graph = lambda: compiled()",
        "@contextlib.contextmanager\ndef graph():\n    yield compiled()",
        "@contextlib.asynccontextmanager\nasync def graph():\n    yield compiled()",
        "async def graph():\n    yield compiled()",
        "def graph():\n    yield compiled()",
        "@contextlib.asynccontextmanager\nasync def made():\n    yield compiled()\nasync def graph(): return made()",
        "class Maker:\n    async def __call__(self, config: RunnableConfig): return compiled()\ngraph = Maker()",
        "class Maker:\n    def make(self, config): return compiled()\ngraph = Maker().make",
    ],
)
async def test_graph_can_be_given_in_several_forms(code: str, tmp_path: Path) -> None:
    assert await said_by(registry_of(tmp_path, code)) == "hello"


async def test_functional_entrypoint_is_a_graph(tmp_path: Path) -> None:
    code = """
    from langgraph.func import entrypoint

    @entrypoint()
    async def graph(state: dict) -> dict:
        return {"said": "functional"}
    """
    assert await said_by(registry_of(tmp_path, code)) == "functional"


@pytest.mark.parametrize(
    "signature",
    [
        "config",
        "config: RunnableConfig",
        "conf: RunnableConfig",
        "c",
        "config: dict",
        "config: RunnableConfig | None = None",
    ],
)
async def test_factory_gets_the_config_it_asks_for(signature: str, tmp_path: Path) -> None:
    name = signature.partition(":")[0]
    code = f"def graph({signature}): return compiled({name}['configurable']['word'])"
    assert await said_by(registry_of(tmp_path, code), {"configurable": {"word": "given"}}) == "given"


async def test_factory_gets_the_servers_runtime(tmp_path: Path) -> None:
    code = """
    from dataclasses import dataclass
    from langgraph_sdk.runtime import ServerRuntime

    @dataclass
    class Shop:
        word: str = ""

    async def graph(config: RunnableConfig, runtime: ServerRuntime[Shop]):
        executing = runtime.execution_runtime
        who = runtime.user.identity if runtime.user else "unknown"
        word = executing.context.word if executing else ""
        return compiled(f"{runtime.access_context} {who} {word} {type(runtime.store).__name__}")
    """
    registry = registry_of(tmp_path, code)
    run = {"configurable": {"run_id": "r", "thread_id": "t", "word": "given"}}

    assert await said_by(registry, run) == "threads.create_run unknown given InMemoryStore"
    assert await said_by(registry, {"configurable": {"thread_id": "t"}}) == "threads.read unknown  InMemoryStore"
    assert await said_by(registry) == "assistants.read unknown  InMemoryStore"
    with acting(ActorContext(user_id="ann", auth_source="api_key")):
        assert await said_by(registry, run) == "threads.create_run ann given InMemoryStore"
    with acting(ActorContext(user_id="local", auth_source="none")):
        assert await said_by(registry, run) == "threads.create_run unknown given InMemoryStore"


async def test_context_manager_of_a_factory_is_closed_after_a_failed_run(tmp_path: Path) -> None:
    code = """
    log = []

    @contextlib.asynccontextmanager
    async def graph():
        log.append("opened")
        try:
            yield compiled()
        finally:
            log.append("closed")
    """
    registry = registry_of(tmp_path, code)
    registry.load()
    log = sys.modules["agent"].log

    async def run() -> None:
        async with registry.resolve("graph").build({}):
            assert log == ["opened"]
            raise RuntimeError("the run broke")

    with pytest.raises(RuntimeError, match="the run broke"):
        await run()
    assert log == ["opened", "closed"]


async def test_factory_is_called_for_each_run_and_its_module_imported_once(tmp_path: Path) -> None:
    code = """
    calls = []

    def graph():
        calls.append(1)
        return compiled(str(len(calls)))
    """
    registry = registry_of(tmp_path, code)
    assert [await said_by(registry), await said_by(registry)] == ["1", "2"]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("graph = 3", "'graph' is an object of type int; expected a compiled graph"),
        ("graph = None", "'graph' is None"),
        ("grph = compiled()", "it has no variable 'graph'; it has grph, State, builder"),
        ("def graph(a, b): return compiled()", "graph() needs 'a', but a factory is given only config"),
        ("def graph(config, /): return compiled()", "takes 'config' by position only"),
        ("import nothing_like_this", "ModuleNotFoundError: No module named 'nothing_like_this'\n  at "),
        ("raise SystemExit(2)", "SystemExit: 2"),
        ("graph = (", "SyntaxError: '(' was never closed"),
        ("def broken():\n    raise KeyError('k')\nbroken()", "KeyError: 'k'"),
    ],
)
def test_object_that_is_not_a_graph_is_refused_on_load(code: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(GraphLoadError) as caught:
        registry_of(tmp_path, code).load()
    assert str(caught.value).startswith("graph 'graph' (agent.py:graph) cannot be loaded: ")
    assert said in str(caught.value)


def test_load_error_ends_with_the_failing_line_of_user_code(tmp_path: Path) -> None:
    code = """
    import json

    def parse():
        return json.loads("nonsense")

    graph = parse()
    """
    with pytest.raises(GraphLoadError) as caught:
        registry_of(tmp_path, code).load()
    last = str(caught.value).splitlines()[-1].strip()
    assert last.startswith(f"at {tmp_path / 'agent.py'}, line ")
    assert last.endswith('return json.loads("nonsense")')


@pytest.mark.parametrize(
    ("code", "returned"),
    [
        ("def graph(): return 3", "returned an object of type int"),
        ("async def graph(): pass", "returned None"),
        ("def graph(): yield", "yielded None"),
        ("@contextlib.asynccontextmanager\nasync def graph():\n    yield {}", "yielded an object of type dict"),
        ("def graph():\n    if False: yield", "yielded nothing"),
        ("async def graph():\n    if False: yield", "yielded nothing"),
    ],
)
async def test_build_error_names_the_object_returned_instead_of_a_graph(
    code: str, returned: str, tmp_path: Path
) -> None:
    with pytest.raises(NoGraphReturned) as caught:
        await said_by(registry_of(tmp_path, code))
    assert f"the factory graph() {returned}; " in str(caught.value)


async def test_exception_of_a_factory_is_raised_unchanged(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        await said_by(registry_of(tmp_path, "def graph(): return 1 / 0"))


def test_load_reports_every_broken_graph(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text("a = 1\nb = 2\n")
    with pytest.raises(ExceptionGroup) as caught:
        GraphRegistry(configuration_of(["agent.py:a", "agent.py:b", "agent.py:c"], tmp_path)).load()
    assert len(caught.value.exceptions) == 3


def test_graph_that_failed_to_load_is_retried(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, "graph = nothing")
    with pytest.raises(GraphLoadError, match="NameError"):
        registry.load()
    (tmp_path / "agent.py").write_text(PRELUDE + "graph = compiled()")
    registry.load()


def test_files_of_one_name_are_separate_and_siblings_importable(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "agent.py").write_text(
            PRELUDE + f"import plain_words\n{name} = compiled(plain_words.{name})"
        )
    (tmp_path / "plain_words.py").write_text("a = 'from a'\nb = 'from b'\n")
    sources = [parse_source(name, f"./{name}/agent.py:{name}", tmp_path) for name in ("a", "b")]
    registry = GraphRegistry(GraphConfiguration(directory=tmp_path, graphs=sources))

    registry.load()

    assert registry.graph_ids == ("a", "b")


async def test_file_of_a_package_may_import_relatively(tmp_path: Path) -> None:
    package = tmp_path / "src" / "shopkeeper"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "words.py").write_text("word = 'relative'")
    (package / "agent.py").write_text(PRELUDE + "from .words import word\ngraph = compiled(word)")
    registry = GraphRegistry(configuration_of(["src/shopkeeper/agent.py:graph"], tmp_path))
    assert await said_by(registry) == "relative"
    assert "shopkeeper.agent" in sys.modules


async def test_module_is_found_on_the_projects_path(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(PRELUDE + "graph = compiled('module')")
    registry = GraphRegistry(configuration_of(["shop:graph"], tmp_path))
    registry.load()
    assert await said_by(registry) == "module"


def test_module_name_of_a_file_is_independent_of_the_project_folder(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    assert module_name(here / "x" / "agent.py", here) == module_name(there / "x" / "agent.py", there)
    assert module_name(here / "x" / "agent.py", here) != module_name(here / "y" / "agent.py", here)


@pytest.mark.parametrize(
    "code",
    [
        "graph = compiled()",
        "graph = builder()",
        "def graph(): return builder()",
        "async def graph(config: RunnableConfig): return compiled()",
    ],
)
async def test_graph_without_a_name_is_built_under_its_id(code: str, tmp_path: Path) -> None:
    """Its name is the name of the run in traces and in the ``events`` stream."""
    async with registry_of(tmp_path, code).resolve("graph").build({}) as agent:
        assert agent.name == "graph"


async def test_graph_with_a_name_keeps_it(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, "graph = builder().compile(name='Weather')")
    async with registry.resolve("graph").build({}) as agent:
        assert agent.name == "Weather"


async def test_descriptions_are_kept_for_the_assistants(tmp_path: Path) -> None:
    source = parse_source("pay", "runstead.graphs.demo:agent", tmp_path, "Pays invoices.")
    registry = GraphRegistry(GraphConfiguration(directory=tmp_path, graphs=[source]))
    assert registry.descriptions == {"pay": "Pays invoices."}
    async with registry.resolve("pay").build({}) as agent:
        assert isinstance(agent, Pregel)


async def test_constructing_a_registry_runs_no_user_code(tmp_path: Path) -> None:
    registry_of(tmp_path, "raise RuntimeError('ran')")


HELPED = """
loads = []
loads.append(__name__)

class Word(str):
    pass

import flavours
"""


def project_of(directory: Path, files: Mapping[str, str], graphs: Mapping[str, str]) -> GraphRegistry:
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(PRELUDE + text)
    sources = [parse_source(graph_id, target, directory) for graph_id, target in graphs.items()]
    return GraphRegistry(GraphConfiguration(directory=directory, graphs=sources))


async def test_main_that_a_helper_imports_is_one_module(tmp_path: Path) -> None:
    files = {
        "main.py": HELPED + "graph = compiled(str(flavours.is_same(Word())))",
        "flavours.py": "def is_same(word):\n    import main\n    return isinstance(word, main.Word)",
    }
    registry = project_of(tmp_path, files, {"main": "./main.py:graph"})
    registry.load()
    assert await said_by(registry) == "True"


async def test_main_that_another_graphs_helper_imported_first_is_one_module(tmp_path: Path) -> None:
    files = {
        "agent.py": "import flavours\nfrom main import Word\ngraph = compiled(str(flavours.is_same(Word())))",
        "main.py": HELPED + "graph = compiled(str(flavours.is_same(Word())))",
        "flavours.py": "def is_same(word):\n    import main\n    return len(main.loads) * isinstance(word, main.Word)",
    }
    registry = project_of(tmp_path, files, {"agent": "./agent.py:graph", "main": "./main.py:graph"})
    registry.load()
    for graph_id in ("agent", "main"):
        async with registry.resolve(graph_id).build({}) as graph:
            assert (await graph.ainvoke({"said": ""}))["said"] == "1"


@pytest.mark.parametrize("name", ["desk.main", "src.desk.main"])
async def test_file_outside_a_package_is_one_module_under_every_import_name(name: str, tmp_path: Path) -> None:
    files = {
        "src/desk/main.py": HELPED + "graph = compiled(str(flavours.is_same(Word())))",
        "flavours.py": f"def is_same(word):\n    from {name} import Word\n    return isinstance(word, Word)",
    }
    registry = project_of(tmp_path, files, {"main": "./src/desk/main.py:graph"})
    registry.load()
    assert await said_by(registry) == "True"


def test_two_files_of_one_name_beside_each_other_on_the_path_are_two_modules(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.py").write_text(PRELUDE + f"{name} = compiled('{name}')")
    sources = [parse_source(name, f"./{name}/main.py:{name}", tmp_path) for name in ("a", "b")]
    configuration = GraphConfiguration(directory=tmp_path, graphs=sources, dependencies=("./a", "./b"))
    GraphRegistry(configuration).load()


async def test_package_that_is_a_graph_itself_is_executed_once(tmp_path: Path) -> None:
    files = {"desk/__init__.py": HELPED + "graph = compiled(repr(loads))", "flavours.py": "import desk"}
    registry = project_of(tmp_path, files, {"main": "./desk/__init__.py:graph"})
    registry.load()
    assert await said_by(registry) == "['desk']"


def test_module_is_found_by_its_path_name_under_any_import_name(tmp_path: Path) -> None:
    # Checkpoints name classes by module name, and a helper's import order may differ between starts.
    files = {"src/desk/main.py": HELPED + "graph = compiled()", "flavours.py": ""}
    project_of(tmp_path, files, {"main": "./src/desk/main.py:graph"}).load()
    by_path = importlib.import_module(module_name(tmp_path / "src/desk/main.py", tmp_path))
    assert importlib.import_module("src.desk.main") is by_path
    assert by_path.__spec__ is not None
    assert by_path.__spec__.name == by_path.__name__


def test_names_are_those_that_graphs_were_compiled_with(tmp_path: Path) -> None:
    code = """
    named = builder().compile(name="My agent")
    unnamed = builder().compile()
    made = lambda config: builder().compile(name="Made")
    """
    (tmp_path / "agent.py").write_text(PRELUDE + textwrap.dedent(code))
    sources = [f"agent.py:{name}" for name in ("named", "unnamed", "made", "builder")]
    registry = GraphRegistry(configuration_of(sources, tmp_path))
    assert registry.names == {}
    registry.load()
    assert list(registry.names.values()) == ["My agent"]
