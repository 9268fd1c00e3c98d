"""Prices of models from the package genai-prices, which contains them; nothing is downloaded.

The package is an extra (``pip install 'runstead[prices]'``). It is loaded with the first price: its data take some
megabytes and a fifth of a second.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from runstead.runtime.runs.types import USAGE_COUNTS, ModelUsage

_PACKAGE: Final = "genai-prices"
_PROVIDERS: Final = {"google_genai": "google", "google_vertexai": "google", "amazon_bedrock": "aws", "xai": "x-ai"}
"""LangChain's names of providers that have another name in the list."""


class GenaiPrices:
    """A PriceList with the prices of the installed release of genai-prices; without the package, it has none."""

    @cached_property
    def source(self) -> str | None:
        try:
            return f"{_PACKAGE} {version(_PACKAGE)}"
        except PackageNotFoundError:
            return None

    def cost(self, usage: ModelUsage) -> Decimal | None:
        if self.source is None:
            return None
        whole = _price(usage)
        if whole is None or usage.calls < 2:
            return whole
        # Some models cost more for long prompts: the length of each call decides, not that of all together.
        single = _price(replace(usage, **{name: -(-getattr(usage, name) // usage.calls) for name in USAGE_COUNTS}))
        return whole if single is None else min(whole, usage.calls * single)


def _price(usage: ModelUsage) -> Decimal | None:
    from genai_prices import Usage, calc_price

    counts = Usage(
        input_tokens=max(usage.input_tokens, usage.cache_read_tokens + usage.cache_write_tokens),
        cache_read_tokens=usage.cache_read_tokens or None,
        cache_write_tokens=usage.cache_write_tokens or None,
        output_tokens=usage.output_tokens,
    )
    provider = _PROVIDERS.get(usage.provider or "", usage.provider)
    for provider_id in (provider, None) if provider else (None,):
        try:
            return calc_price(counts, model_ref=usage.model, provider_id=provider_id).total_price
        except (LookupError, ValueError):
            # The list does not know the provider under this name, or the model.
            continue
    return None
