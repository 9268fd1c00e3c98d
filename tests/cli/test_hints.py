"""Commands shown for copying work for any graph name."""

from __future__ import annotations

import ast
import shlex
from pathlib import Path

import pytest

from runstead.cli.output import Output
from runstead.cli.serving import announce, show_snippet
from runstead.graphs.configuration import GraphConfiguration
from runstead.graphs.sources import parse_source
from runstead.settings import load_settings

NAMES = ("agent", "my graph", "it's", 'a "b" $(c)', "grüße;ls")


@pytest.mark.parametrize("name", NAMES)
def test_graph_name_is_quoted_if_needed(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configuration = GraphConfiguration(tmp_path, (parse_source(name, "runstead.graphs.demo:agent", tmp_path),))
    settings = load_settings({"data_dir": tmp_path / "data"}, project=tmp_path)
    announce("http://127.0.0.1:2024", configuration, settings, Output(), seconds=1.25)
    show_snippet("http://127.0.0.1:2024", configuration, Output())
    said = capsys.readouterr().out
    assert "  docs  http://127.0.0.1:2024/docs\n" in said
    assert "  open  http://127.0.0.1:2024/console/\n" in said
    assert "ready in 1.2 s" in said
    (command,) = (line.partition("try")[2] for line in said.splitlines() if line.strip().startswith("try"))
    assert shlex.split(command)[:4] == ["runstead", "run", name, "hello"]
    snippet = said[said.index("from langgraph_sdk") :]
    assert name in [node.value for node in ast.walk(ast.parse(snippet)) if isinstance(node, ast.Constant)]
