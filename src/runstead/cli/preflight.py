"""Checks before a server is started, so that mistakes are reported at once and in one sentence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runstead.settings import Settings, unknown_variable_warnings

from .output import USAGE, CommandError, Output

if TYPE_CHECKING:
    from runstead.graphs.configuration import GraphConfiguration


def load_graphs(configuration: GraphConfiguration) -> None:
    """Import every graph, so that a mistake in one is reported before anything is opened."""
    from runstead.graphs.configuration import ConfigurationError
    from runstead.graphs.environment import apply_environment
    from runstead.graphs.modules import GraphLoadError
    from runstead.graphs.registry import GraphRegistry

    try:
        apply_environment(configuration, os.environ)
        GraphRegistry(configuration).load()
    except ConfigurationError as error:
        raise CommandError(str(error), "correct the file, or remove the key") from error
    except GraphLoadError as error:
        raise CommandError(str(error), "correct it; `runstead doctor` checks all graphs") from error
    except ExceptionGroup as errors:
        raise CommandError("\n".join(str(error) for error in errors.exceptions)) from errors


def load_handlers(configuration: GraphConfiguration, settings: Settings) -> None:
    """Import the auth handlers, if they are configured."""
    from runstead.bootstrap.extensions import load_auth

    with _command_errors():
        load_auth(settings, configuration)


def load_app(configuration: GraphConfiguration) -> None:
    """Import the custom app, if there is one."""
    from runstead.bootstrap.extensions import load_custom_app

    with _command_errors():
        load_custom_app(configuration)


def load_embeddings(configuration: GraphConfiguration) -> None:
    """Import the embedder of the store, if there is one."""
    from runstead.bootstrap.extensions import load_embedder

    with _command_errors():
        load_embedder(configuration)


def load_priorities(configuration: GraphConfiguration) -> None:
    """Import the priority function, if there is one."""
    from runstead.bootstrap.priorities import load_priority

    with _command_errors():
        load_priority(configuration)


def load_encryption_handlers(configuration: GraphConfiguration) -> None:
    """Import the encryption handlers, if there are any."""
    from runstead.bootstrap.encryption_handlers import load_encryption

    with _command_errors():
        load_encryption(configuration)


@contextmanager
def _command_errors() -> Iterator[None]:
    from runstead.bootstrap.unsupported import UnsupportedConfiguration

    try:
        yield
    except UnsupportedConfiguration as error:
        raise CommandError(str(error), "correct it") from error


def refuse_strangers(configuration: GraphConfiguration, settings: Settings) -> None:
    """Refuse to listen on a non-loopback address without authentication, unless that was asked for."""
    from runstead.bootstrap.unsupported import auth_mode

    if settings.is_loopback or settings.allow_unauthenticated:
        return
    if auth_mode(settings, configuration) == "none":
        raise CommandError(
            f"{settings.host} can be reached from other machines, and authentication is off",
            "create a key with `runstead keys create` and add --set auth=keys, name auth handlers in langgraph.json, "
            "or add --allow-unauthenticated",
            exit_code=USAGE,
        )


def refuse_unprotected(configuration: GraphConfiguration, settings: Settings) -> None:
    """Raise CommandError for unsupported configuration, before anything is imported; the server itself would report it
    later."""
    from runstead.bootstrap.unsupported import UnsupportedConfiguration, check_configuration

    try:
        check_configuration(configuration, settings)
    except UnsupportedConfiguration as error:
        raise CommandError(str(error), exit_code=USAGE) from error


def warn(configuration: GraphConfiguration, output: Output) -> None:
    """Print warnings about settings and configuration that have no effect."""
    for remark in (*configuration.warnings, *unknown_variable_warnings()):
        output.line("warning", warning=remark)
        output.say(f"warning: {remark}", style="yellow")
