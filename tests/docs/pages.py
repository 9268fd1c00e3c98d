"""The documentation pages of the project, and all files that may refer to them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
TEXTS: Final = [
    *PAGES,
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "src").rglob("*.py")),
    *sorted((ROOT / "tests").rglob("*.py")),
]

BLOCK: Final = re.compile(r"^```(?P<language>\w*)(?P<mark>[^\n]*)\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)
SPAN: Final = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


@dataclass(frozen=True, slots=True)
class Block:
    """A code block on a page. ``mark`` is the text after its language."""

    page: Path
    number: int
    language: str
    mark: str
    code: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}-{self.number}"


def blocks(*languages: str, pages: Sequence[Path] = PAGES) -> Iterator[Block]:
    """The code blocks in these languages, numbered on each page."""
    for page in pages:
        found = [match for match in BLOCK.finditer(page.read_text()) if match["language"] in languages]
        for number, match in enumerate(found, start=1):
            yield Block(page, number, match["language"], match["mark"], match["code"])


def spans(page: Path) -> list[str]:
    """The texts between backticks on a page, outside of blocks."""
    return SPAN.findall(BLOCK.sub("", page.read_text()))
