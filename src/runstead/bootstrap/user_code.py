"""User code of a project: everything that langgraph.json names, loaded before any file or database is opened."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from langchain_core.embeddings import Embeddings

from runstead.gateway.custom_app import CustomApp
from runstead.graphs.configuration import GraphConfiguration
from runstead.graphs.registry import GraphRegistry
from runstead.handlers.priority import Assign
from runstead.settings import Settings

from .encryption_handlers import load_encryption
from .extensions import load_auth, load_custom_app, load_embedder
from .priorities import load_priority


@dataclass(frozen=True, slots=True)
class UserCode:
    """Loaded user code. ``auth`` and ``encryption`` are the SDK's objects; None if none is configured."""

    graphs: GraphRegistry
    auth: object
    embeddings: Embeddings | None
    assign: Assign | None
    custom: CustomApp | None
    encryption: object


async def load_user_code(settings: Settings, configuration: GraphConfiguration) -> UserCode:
    """Import the user's modules, in a thread. The caller must apply the environment of langgraph.json first.

    Raises GraphLoadError, or several in an ExceptionGroup, and UnsupportedConfiguration.
    """
    return await asyncio.to_thread(_load, settings, configuration)


def _load(settings: Settings, configuration: GraphConfiguration) -> UserCode:
    graphs = GraphRegistry(configuration)
    graphs.load()
    return UserCode(
        graphs=graphs,
        auth=load_auth(settings, configuration),
        embeddings=load_embedder(configuration),
        assign=load_priority(configuration),
        custom=load_custom_app(configuration),
        encryption=load_encryption(configuration),
    )
