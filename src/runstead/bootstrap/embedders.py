"""Loading of the item store's embedder. The server refuses to start if it cannot be loaded."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings

from runstead.graphs.configuration import GraphConfiguration
from runstead.graphs.embeddings import EmbedderLoadError, load_embeddings

from .unsupported import UnsupportedConfiguration


def load_embedder(configuration: GraphConfiguration) -> Embeddings | None:
    """Load the embedder that ``store.index.embed`` names; None if there is no index. Runs the user's module, so it
    blocks.

    Raises UnsupportedConfiguration, since stored items would never be found.
    """
    try:
        return load_embeddings(configuration)
    except EmbedderLoadError as error:
        raise UnsupportedConfiguration(f"{configuration.file or configuration.directory}: {error}") from error
