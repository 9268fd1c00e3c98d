"""A file of JavaScript tests under node's own runner, whose results are read one by one.

The titles are read from the file's text, so that each test is a pytest item before node has started. Node runs the
file once; a caller that asks for a result waits until its test has ended.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from .node import CLIENTS, Node

# test("title", ...) and method("noun.verb", "title", ...), at the beginning of a line.
_TITLE: Final = re.compile(
    r'^(?:test\("(?P<title>[^"]+)"|method\("(?P<method>[^"]+)", "(?P<rest>[^"]+)")', re.MULTILINE
)
_TEST_WITHIN: Final = 90
"""Seconds for one test; pytest's own limit is above it."""


def titles_of(file: Path) -> list[str]:
    """Return the tests of a file, in order."""
    found = [match["title"] or f"{match['method']}: {match['rest']}" for match in _TITLE.finditer(file.read_text())]
    assert len(found) == len(set(found)), f"{file.name} has two tests of one name"
    return found


@dataclass(frozen=True)
class Result:
    title: str
    passed: bool
    text: str
    skipped: str | bool | None


class Suite:
    """One run of one file. `stop` ends all its processes."""

    def __init__(self, node: Node, file: Path, variables: Mapping[str, str], only: Collection[str]) -> None:
        """``only`` are the titles to run; the others of the file are skipped."""
        command = [node.node, "--test", f"--test-reporter={CLIENTS / 'reporter.mjs'}"]
        command += [f"--test-timeout={_TEST_WITHIN * 1000}", "--test-force-exit"]
        if set(only) != set(titles_of(file)):
            command += [f"--test-name-pattern=/^{re.escape(title).replace('/', '[/]')}$/" for title in only]
        self._process = subprocess.Popen(
            [*command, str(file)],
            cwd=file.parent,
            env={**node.environment, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._results: dict[str, Result] = {}
        self._said: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def result(self, title: str) -> Result:
        """Return the result of a test once it has ended; the whole output if node never ran it."""
        with self._news:
            self._news.wait_for(lambda: title in self._results or self._ended)
            # A file that cannot be loaded fails under its own name.
            others = "\n".join(result.text for result in self._results.values() if not result.passed)
            missing = Result(title, False, f"node did not run it\n{others}\n{''.join(self._said)}", None)
            return self._results.get(title, missing)

    def check(self, title: str, name: str | None = None) -> None:
        """Fail as a pytest test under this ``name`` (the title, by default) if the test did not pass."""
        result = self.result(title)
        if not result.passed:
            pytest.fail(f"{name or title}\n{result.text}\n{self.said}", pytrace=False)
        assert not result.skipped, result.skipped

    @property
    def said(self) -> str:
        """The output of the tests so far."""
        return "".join(self._said)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                with self._news:
                    self._take(line)
                    self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _take(self, line: str) -> None:
        try:
            told: Any = json.loads(line)
        except ValueError:
            told = {"said": line}
        if "title" in told:
            self._results[told["title"]] = Result(**told)
        else:
            self._said.append(told["said"])
