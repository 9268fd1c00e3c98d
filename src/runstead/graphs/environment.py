"""The ``env`` of langgraph.json: what is set for graphs before they are imported."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from pathlib import Path

from dotenv import dotenv_values

from .configuration import GraphConfiguration


def read_environment(configuration: GraphConfiguration) -> Mapping[str, str]:
    """The variables of ``env``; a name without a value in a file is left out."""
    env = configuration.env
    if not isinstance(env, Path):
        return dict(env)
    return {name: value for name, value in dotenv_values(env, interpolate=True).items() if value is not None}


def apply_environment(configuration: GraphConfiguration, environ: MutableMapping[str, str]) -> list[str]:
    """Set in ``environ`` what is not set yet; returns the names. What the process was started with wins."""
    missing = {name: value for name, value in read_environment(configuration).items() if name not in environ}
    environ.update(missing)
    return sorted(missing)
