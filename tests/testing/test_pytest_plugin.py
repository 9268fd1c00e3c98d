"""The plugin of pytest: cheap to load, disabled by name, and the examples of its page pass."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks

PAGE = ROOT / "docs" / "testing.md"


def test_examples_of_the_page_pass(pytester: pytest.Pytester) -> None:
    agent, *tests = [block.code for block in blocks("python", pages=[PAGE])]
    pytester.makepyfile(agent=agent, **{f"test_{number}": code for number, code in enumerate(tests)})
    pytester.syspathinsert()
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=sum(code.count("def test_") for code in tests))


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    heavy = {"langgraph", "langchain_core", "fastapi", "sqlalchemy", "pydantic", "httpx", "langgraph_sdk"}
    code = (
        "import json, sys, pytest; before = set(sys.modules); import runstead.testing.pytest_plugin; "
        f"print(json.dumps(sorted({heavy!r} & (set(sys.modules) - before))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_plugin_is_disabled_by_its_name(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_nothing(runstead_agent): pass")
    result = pytester.runpytest_inprocess("-p", "no:runstead")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'runstead_agent' not found*"])


def test_failed_assertion_shows_the_transcript(pytester: pytest.Pytester, tmp_path: Path) -> None:
    pytester.makepyfile(
        """
        from langchain.agents import create_agent
        from runstead.testing import ScriptedModel


        def test_agent(runstead_agent):
            run = runstead_agent(create_agent(ScriptedModel("Hello to you"))).run("Hi")
            run.assert_waits_for("send_mail")
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(
        ["*expected the run to wait for send_mail: run * has status success*", "*model: Hello*"]
    )
