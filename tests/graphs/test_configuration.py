"""langgraph.json is parsed into types; unsupported content is refused with file, key and remedy."""

from __future__ import annotations

import json
import os
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from runstead.graphs.configuration import (
    ConfigurationError,
    GraphConfiguration,
    configuration_of,
    configuration_of_graphs,
    read_configuration,
)
from runstead.graphs.environment import apply_environment, read_environment
from runstead.graphs.sources import SourceError


def write(directory: Path, **keys: Any) -> Path:
    (directory / "agent.py").write_text("graph = None\n")
    file = directory / "langgraph.json"
    file.write_text(json.dumps({"graphs": {"agent": "./agent.py:graph"}, **keys}))
    return file


def read(directory: Path, **keys: Any) -> GraphConfiguration:
    return read_configuration(write(directory, **keys))


def test_smallest_file_names_one_graph(tmp_path: Path) -> None:
    configuration = read(tmp_path)

    (source,) = configuration.graphs
    assert (source.graph_id, source.variable, source.file) == ("agent", "graph", tmp_path / "agent.py")
    assert configuration.warnings == ()
    assert configuration.search_paths == (tmp_path,)


def test_graph_may_have_an_isolation_of_its_own(tmp_path: Path) -> None:
    graphs = {"a": "./agent.py:graph", "b": {"path": "./agent.py:graph", "agent_isolation": "run"}}
    read_graphs = read(tmp_path, graphs=graphs).graphs
    assert [graph.agent_isolation for graph in read_graphs] == [None, "run"]


def test_graphs_are_files_modules_or_objects_with_a_description(tmp_path: Path) -> None:
    graphs = {"a": "./agent.py:graph", "b": "pkg.mod:make", "c": {"path": "./agent.py:other", "description": "Pays."}}

    a, b, c = read(tmp_path, graphs=graphs).graphs

    assert a.file
    assert (b.file, b.module, b.variable) == (None, "pkg.mod", "make")
    assert (c.variable, c.description) == ("other", "Pays.")


def test_local_dependencies_are_search_paths_and_packages_are_not(tmp_path: Path) -> None:
    (tmp_path / "lib" / "src").mkdir(parents=True)
    configuration = read(tmp_path, dependencies=["langchain_openai", "./lib", "."])
    assert configuration.search_paths == (tmp_path / "lib", tmp_path / "lib" / "src", tmp_path)


def test_sections_are_parsed_into_types(tmp_path: Path) -> None:
    configuration = read(
        tmp_path,
        http={
            "cors": {"allow_origins": ["https://a.example"], "allow_credentials": True},
            "configurable_headers": {"includes": ["x-tenant"], "exclude": ["x-secret"]},
            "disable_store": True,
            "mount_prefix": "/agents",
        },
        store={"index": {"dims": 3, "embed": "./agent.py:embed"}, "ttl": {"default_ttl": 60}},
        checkpointer={"ttl": {"strategy": "delete", "default_ttl": 43200, "sweep_interval_minutes": 10}},
    )

    assert configuration.http.cors
    assert configuration.http.cors.allow_origins == ["https://a.example"]
    assert configuration.http.configurable_headers.include == ["x-tenant"]
    assert configuration.http.configurable_headers.exclude == ["x-secret"]
    assert configuration.http.disable_store
    assert configuration.store.index
    assert configuration.store.index.dims == 3
    assert configuration.checkpointer.ttl
    assert configuration.checkpointer.ttl.default_ttl == 43200
    assert configuration.warnings == ()


def test_image_keys_are_ignored_and_unknown_keys_cause_warnings(tmp_path: Path) -> None:
    configuration = read(
        tmp_path, python_version="3.12", dockerfile_lines=["RUN x"], grafs={}, http={"corse": {}}, pip_installer="uv"
    )
    assert [warning.removeprefix(f"{configuration.file}: ") for warning in configuration.warnings] == [
        "grafs: unknown key, ignored; did you mean graphs?",
        "http.corse: unknown key, ignored; did you mean cors?",
    ]


@pytest.mark.parametrize(
    ("keys", "key", "said"),
    [
        ({"graphs": {}}, "graphs", 'expected an object such as {"agent": "./agent.py:graph"}'),
        ({"graphs": {"a": 3}}, "graphs.a", 'got 3; expected "./file.py:graph"'),
        ({"graphs": {"a": "./agent.py"}}, "graphs.a", "names no variable"),
        ({"graphs": {"a": "./gone.py:graph"}}, "graphs.a", "there is no file './gone.py'"),
        ({"graphs": {"a": "./agent.ts:graph"}}, "graphs.a", "only Python graphs"),
        ({"graphs": {"a": "not a module:graph"}}, "graphs.a", "neither a .py file nor a module"),
        ({"graphs": {" ": "./agent.py:graph"}}, "graphs. ", "cannot be the id of a graph"),
        ({"graphs": {"a": {"path": "./agent.py:g", "description": 1}}}, "graphs.a.description", "expected a string"),
        (
            {"graphs": {"a": {"path": "./agent.py:g", "agent_isolation": "thread"}}},
            "graphs.a.agent_isolation",
            'expected "shared" or "run"',
        ),
        ({"dependencies": "."}, "dependencies", 'expected list such as ["."]'),
        ({"http": {"mount_prefix": "agents"}}, "http.mount_prefix", 'expected a path such as "/agents"'),
        ({"http": {"cors": {"allow_origins": "*"}}}, "http.cors.allow_origins", "expected list such as"),
        ({"http": {"cors": {"allow_origin_regex": "("}}}, "http.cors.allow_origin_regex", "a regular expression"),
        (
            {"http": {"disable_runs": "yes"}},
            "http.disable_runs",
            "must be true or false, got 'yes'; expected true or false",
        ),
        ({"store": {"index": {"embed": "x"}}}, "store.index.dims", "is missing; expected length of the embedding"),
        ({"checkpointer": {"ttl": {"default_ttl": -1}}}, "checkpointer.ttl.default_ttl", "expected minutes"),
    ],
)
def test_invalid_value_is_refused_with_key_and_expectation(
    keys: dict[str, Any], key: str, said: str, tmp_path: Path
) -> None:
    file = write(tmp_path, **keys)
    with pytest.raises(ConfigurationError, match=re.escape(said)) as caught:
        read_configuration(file)
    assert caught.value.key == key
    assert str(caught.value).startswith(f"{file}: {key}: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"graphs": ', "is not JSON: Expecting value at line 1"),
        ("[]", "must contain an object"),
        ("\xff", "is not JSON"),
        ('{"graphs": ' + "9" * 5_000, "cannot be read"),
        ('{"graphs": ' + "[" * 100_000, "cannot be read"),
    ],
)
def test_file_that_is_no_json_object_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "langgraph.json").write_text(text)
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        read_configuration(tmp_path / "langgraph.json")


def test_missing_file_error_names_both_remedies(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"--config.*runstead dev file.py:graph"):
        read_configuration(tmp_path / "langgraph.json")


def test_graphs_given_as_files_need_no_configuration(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "langgraph.json").unlink()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "other.py").write_text("b = None\n")
    (tmp_path / ".env").write_text("A=1\n")

    configuration = configuration_of(["agent.py:graph", "sub/other.py:b"], tmp_path)

    assert [source.graph_id for source in configuration.graphs] == ["graph", "b"]
    assert configuration.search_paths == (tmp_path, tmp_path / "sub")
    assert configuration.env == tmp_path / ".env"


def test_two_graphs_of_one_name_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(SourceError, match="different ids"):
        configuration_of(["agent.py:graph", "agent.py:graph"], tmp_path)


def test_process_environment_wins_over_the_configured_one(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text('TOKEN="from file"\nMODE=file\nNAMED_ONLY\n')
    environ = {"MODE": "process"}

    assert apply_environment(read(tmp_path, env=".env"), environ) == ["TOKEN"]
    assert environ == {"MODE": "process", "TOKEN": "from file"}

    assert apply_environment(read(tmp_path, env={"B": "2"}), environ) == ["B"]


def remarks(configuration: GraphConfiguration) -> list[str]:
    return [warning.removeprefix(f"{configuration.file}: ") for warning in configuration.warnings]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_file_is_read_in_every_encoding_that_editors_write_json_in(encoding: str, tmp_path: Path) -> None:
    file = write(tmp_path, env={"A": "\u00fc"})
    file.write_bytes(file.read_text().encode(encoding))
    assert read_configuration(file).env == {"A": "\u00fc"}


def test_env_file_with_a_byte_order_mark_keeps_its_first_name(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("A=\u00fc\n".encode("utf-8-sig"))
    assert read_environment(read(tmp_path, env=".env")) == {"A": "\u00fc"}


def test_env_file_that_is_missing_is_a_warning(tmp_path: Path) -> None:
    configuration = read(tmp_path, env=".env")
    assert read_environment(configuration) == {}
    (said,) = remarks(configuration)
    assert said == f"env: there is no file '.env' in {tmp_path}; no variables are set from it"


def test_unreadable_env_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=\xff\xfe\n")
    with pytest.raises(ConfigurationError, match=r"env: cannot be read: .*utf-8"):
        read_environment(read(tmp_path, env=".env"))


def test_env_file_may_be_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".env")
    configuration = read(tmp_path, env=".env")
    writing = threading.Thread(target=lambda: (tmp_path / ".env").write_text("A=1\n"), daemon=True)
    writing.start()
    assert read_environment(configuration) == {"A": "1"}
    writing.join(10)


def test_env_file_without_a_key_is_not_read_and_causes_a_remark(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1\n")
    configuration = read(tmp_path)
    assert read_environment(configuration) == {}
    (said,) = remarks(configuration)
    assert said == 'env: the file .env beside it is not read; write {"env": ".env"} to set its variables'
    assert remarks(read(tmp_path, env={"B": "2"})) == []


def test_dependency_that_is_no_directory_is_a_warning(tmp_path: Path) -> None:
    configuration = read(tmp_path, dependencies=["./gone", "."])
    assert configuration.search_paths == (tmp_path,)
    (said,) = remarks(configuration)
    assert said.startswith("dependencies: './gone' is not a directory")


def test_null_value_counts_as_an_absent_key(tmp_path: Path) -> None:
    plain = read(tmp_path)
    keys: dict[str, Any] = {
        "http": {"cors": None, "configurable_headers": None, "logging_headers": {"includes": None, "excludes": None}},
        "store": {"index": {"dims": 3, "embed": "a:b", "fields": None}, "ttl": {"sweep_interval_minutes": None}},
        "checkpointer": {"ttl": {"sweep_interval_minutes": None, "sweep_limit": None}, "serde": None},
        "auth": None,
        "webhooks": None,
        "env": None,
    }
    configuration = read(tmp_path, **keys)
    assert remarks(configuration) == []
    assert configuration.store.index
    assert configuration.store.index.fields == ["$"]
    assert configuration.http == plain.http
    assert configuration.webhooks == plain.webhooks
    everything = dict.fromkeys(("http", "store", "checkpointer", "auth", "webhooks", "encryption", "dependencies"))
    assert read(tmp_path, **everything) == plain


def test_every_key_of_the_references_own_schema_is_known(tmp_path: Path) -> None:
    keys = json.loads((Path(__file__).parent / "every_key.json").read_text())
    keys["graphs"] = {"agent": {"path": "./agent.py:graph", "description": None}}
    assert remarks(read(tmp_path, **keys)) == []


def test_serde_accepts_what_the_reference_accepts(tmp_path: Path) -> None:
    serde = {"allowed_json_modules": False, "allowed_msgpack_modules": None, "pickle_fallback": True}
    read_serde = read(tmp_path, checkpointer={"serde": serde}).checkpointer.serde
    assert read_serde
    assert (read_serde.allowed_json_modules, read_serde.allowed_msgpack_modules) == (None, None)
    assert read_serde.model_fields_set >= {"allowed_msgpack_modules", "pickle_fallback"}


@pytest.mark.parametrize(("given", "prefix"), [("", None), ("/agents/", "/agents"), ("/a/b", "/a/b"), (None, None)])
def test_mount_prefix_is_read_as_by_the_reference(given: str | None, prefix: str | None, tmp_path: Path) -> None:
    assert read(tmp_path, http={"mount_prefix": given}).http.mount_prefix == prefix


@pytest.mark.parametrize("graphs", [{}, {"agent": None}, {"agent": "./agent.py:graph"}, {" ": object()}])
def test_graphs_as_objects_are_checked(graphs: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        configuration_of_graphs(graphs, tmp_path)
