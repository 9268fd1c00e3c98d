"""``env`` of langgraph.json: variables that are set before graphs are imported."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values

from .configuration import ConfigurationError, GraphConfiguration


def read_environment(configuration: GraphConfiguration) -> Mapping[str, str]:
    """Return the variables of ``env``; names without a value in a file are left out. Raises ConfigurationError."""
    env = configuration.env
    if not isinstance(env, Path):
        return dict(env)
    try:
        text = env.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(configuration.file or env, "env", f"cannot be read: {env}: {error}") from error
    values = dotenv_values(stream=StringIO(text), interpolate=True)
    return {name: value for name, value in values.items() if value is not None}


def apply_environment(configuration: GraphConfiguration, environ: MutableMapping[str, str]) -> list[str]:
    """Set the variables in ``environ`` that are not set yet, and return their names. Variables of the process take
    precedence."""
    missing = {name: value for name, value in read_environment(configuration).items() if name not in environ}
    environ.update(missing)
    return sorted(missing)
