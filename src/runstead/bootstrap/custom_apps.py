"""Loading of the user's custom app (``http.app``). The server refuses to start if it cannot be loaded."""

from __future__ import annotations

from starlette.applications import Starlette

from runstead.gateway.custom_app import CustomApp
from runstead.graphs.configuration import GraphConfiguration
from runstead.graphs.modules import GraphLoadError, extend_search_path, load_variable
from runstead.graphs.sources import SourceError, parse_source

from .unsupported import UnsupportedConfiguration


def load_custom_app(configuration: GraphConfiguration) -> CustomApp | None:
    """Load the app; None if none is named. Runs the user's module, so it blocks.

    Raises UnsupportedConfiguration, since routes on which clients rely would be missing.
    """
    http = configuration.http
    if http.app is None:
        return None
    place = f"{configuration.file or configuration.directory}: http.app"
    extend_search_path(configuration.search_paths)
    try:
        app = load_variable(parse_source("app", http.app, configuration.directory))
    except SourceError as error:
        raise UnsupportedConfiguration(f"{place}: {error.problem}") from error
    except GraphLoadError as error:
        raise UnsupportedConfiguration(f"{place}: {http.app} cannot be loaded: {error.problem}") from error
    if not isinstance(app, Starlette):
        raise UnsupportedConfiguration(
            f"{place}: {http.app} is a {type(app).__name__}; it must be an app of Starlette or FastAPI"
        )
    return CustomApp(app, auth_first=http.middleware_order == "auth_first", authenticated=http.enable_custom_route_auth)
