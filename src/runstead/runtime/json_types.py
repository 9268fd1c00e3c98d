"""Names for data in the form of JSON.

`JsonObject` and `JsonMapping` stand for objects whose fields are not known here: input and values of graphs, metadata,
config, and what a library documents as such. Where the fields are known, a dataclass or a model is used instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

JsonObject: TypeAlias = dict[str, Any]
"""An object of JSON that its holder may change."""

JsonMapping: TypeAlias = Mapping[str, Any]
"""An object of JSON that is only read."""
