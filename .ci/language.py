"""Check the language of code, tests and pages: plain words, docstrings that say what a thing is or does, short titles.

    .ci/language.py [--counts] [PATH ...]

Prints a line for each finding and exits with 1 if there are any.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDERS: Final = ("src", "tests", "docs", "examples", "benchmarks", ".ci")
PAGES: Final = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")

OPENERS: Final = ("what", "who", "how", "where", "whether", "which", "whose", "whoever", "whatever")
"""Words that no docstring opens with: a docstring says what a thing is, or what it does."""

RIDDLES: Final = re.compile(
    r"\b(whoever|whomever|whosoever|whatsoever|nobody|somebody|anybody|everybody|told|tells|untold|hereby|thereof|therein"
    r"|wherein|whereupon)\b",
    re.IGNORECASE,
)
"""Words that hide the subject. Name the component or the role: the worker, the reader, the caller, the operator."""

LONGEST_TITLE: Final = 80
"""Characters of a test's name, `test_` included."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A place in a file, and what is wrong there."""

    path: str
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.kind}: {self.text}"


def findings_in_python(path: str, source: str) -> Iterator[Finding]:
    """Yield the findings of one Python file: docstring openers, words in all texts and names, test titles."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            yield from _docstring_opener(path, node)
        yield from _attribute_openers(path, node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _words(path, node.lineno, node.name.replace("_", " "), "name")
            if node.name.startswith("test_") and len(node.name) > LONGEST_TITLE:
                yield Finding(path, node.lineno, "title", f"{node.name} has {len(node.name)} characters")
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)):
            for offset, line in enumerate(token.string.split("\n")):
                yield from _words(path, token.start[0] + offset, line, "word")


def findings_in_page(path: str, text: str) -> Iterator[Finding]:
    """Yield the findings of one page of documentation."""
    for number, line in enumerate(text.split("\n"), start=1):
        yield from _words(path, number, line, "word")


def _docstring_opener(
    path: str, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module
) -> Iterator[Finding]:
    docstring = ast.get_docstring(node)
    if docstring is None:
        return
    yield from _opener(path, 1 if isinstance(node, ast.Module) else node.lineno, docstring)


def _attribute_openers(path: str, node: ast.AST) -> Iterator[Finding]:
    """Yield the findings of texts below assignments, which describe the attribute."""
    body = getattr(node, "body", None)
    for attribute, text in pairwise(body if isinstance(body, list) else ()):
        match attribute, text:
            case ast.Assign() | ast.AnnAssign(), ast.Expr(ast.Constant(str(docstring))):
                yield from _opener(path, text.lineno, docstring)


def _opener(path: str, line: int, docstring: str) -> Iterator[Finding]:
    opener = re.match(r"\W*(\w+)", docstring)
    if opener is not None and opener[1].lower() in OPENERS:
        yield Finding(path, line, "opener", docstring.split("\n")[0])


def _words(path: str, number: int, line: str, kind: str) -> Iterator[Finding]:
    for word in RIDDLES.finditer(line.replace('"nobody"', "")):  # The account of that name.
        yield Finding(path, number, kind, f"{word[0]!r} in {line.strip()[:100]!r}")


def files(paths: list[Path]) -> Iterator[Path]:
    """Yield the checked files below some paths, or of the whole project."""
    for path in paths or [*(ROOT / folder for folder in FOLDERS), *(ROOT / page for page in PAGES)]:
        if path.is_dir():
            yield from sorted(one for one in path.rglob("*") if one.suffix in (".py", ".md"))
        else:
            yield path


def main() -> int:
    """Run the check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", action="store_true", help="print the number of findings by folder and kind")
    parser.add_argument("paths", nargs="*", type=Path, help="files or folders; default: the whole project")
    arguments = parser.parse_args()
    found: set[Finding] = set()
    for file in files([path.resolve() for path in arguments.paths]):
        name = file.relative_to(ROOT).as_posix()
        if name == ".ci/language.py" or "node_modules" in name:
            continue
        text = file.read_text()
        found.update(findings_in_python(name, text) if file.suffix == ".py" else findings_in_page(name, text))
    if arguments.counts:
        counts = Counter(("/".join(one.path.split("/")[:3]), one.kind) for one in found)
        for (folder, kind), number in sorted(counts.items()):
            print(f"{number:5} {kind:7} {folder}")
    else:
        for one in sorted(found):
            print(one)
    print(f"{len(found)} findings", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
