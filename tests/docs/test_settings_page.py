"""docs/settings.md describes every setting like the code, in its order."""

from __future__ import annotations

import json
import re

from pydantic_core import PydanticUndefined

from runstead.settings import Settings
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "settings.md"
# Settings whose default is computed, or says less than the description.
UNSAID = {"data_dir"}


def row_of(name: str) -> str:
    """The line of the page for a setting."""
    field = Settings.model_fields[name]
    default = field.get_default(call_default_factory=True)
    assert default is not PydanticUndefined, f"{name} has to be given, and no setting has"
    text = json.dumps(list(default)) if isinstance(default, tuple) and default else str(default).lower()
    shown = "" if default in (None, {}) or name in UNSAID else f"`{text}`"
    return f"| `{name}` | {shown} | {field.description} |"


def test_every_setting_has_its_line() -> None:
    page = PAGE.read_text()
    missing = [row_of(name) for name in Settings.model_fields if row_of(name) not in page]
    assert missing == [], "docs/settings.md lacks or contradicts:\n" + "\n".join(missing)


def test_nothing_else_is_called_a_setting() -> None:
    named = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE)
    assert named == list(Settings.model_fields)
