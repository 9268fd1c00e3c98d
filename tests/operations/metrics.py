"""Metrics as the parser of prometheus_client reads them."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families


def parsed(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return each sample's value by its name and labels."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"{key} appears twice"
            found[key] = sample.value
    return found


class Scraped:
    """One answer of `/metrics`."""

    def __init__(self, text: str) -> None:
        self.samples = parsed(text)

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.samples}

    def __call__(self, name: str, **labels: str) -> float:
        return self.samples[name, frozenset(labels.items())]


async def scrape(http: httpx.AsyncClient) -> Scraped:
    answer = await http.get("/metrics")
    assert answer.status_code == 200, answer.text
    return Scraped(answer.text)
