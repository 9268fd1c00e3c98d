"""Keys of encryption that a command's settings and langgraph.json name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runstead.settings import CONFIG_FILE, Settings

from .output import CommandError

if TYPE_CHECKING:
    from runstead.bootstrap.encryption import Cipher
    from runstead.graphs.configuration import GraphConfiguration

    from .request import ServeRequest


def named_configuration(request: ServeRequest, settings: Settings) -> GraphConfiguration | None:
    """Return the langgraph.json that a server would read; None if there is none. Raises CommandError."""
    if request.flags.get("config") or settings.config or os.path.exists(CONFIG_FILE):
        return request.configuration(settings)
    return None


def configured_cipher(request: ServeRequest, settings: Settings) -> Cipher | None:
    """Return the keys of a server with these settings, including those of the langgraph.json.

    Raises CommandError.
    """
    from runstead.bootstrap.encryption import load_cipher
    from runstead.resources.storage_errors import StorageError

    environ = dict(os.environ)
    if (configuration := named_configuration(request, settings)) is not None:
        from runstead.graphs.environment import apply_environment

        apply_environment(configuration, environ)
    try:
        return load_cipher(settings, environ)
    except StorageError as error:
        raise CommandError(str(error)) from error
