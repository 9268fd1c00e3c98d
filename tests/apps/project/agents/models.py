"""Load a chat model by its fully specified name, as the templates do."""

from __future__ import annotations

from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel


def load_chat_model(fully_specified_name: str) -> BaseChatModel:
    """Load a model from a name of the form ``provider/model``."""
    provider, model = fully_specified_name.split("/", maxsplit=1)
    loaded: BaseChatModel = init_chat_model(model, model_provider=provider)
    return loaded
