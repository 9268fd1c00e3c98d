"""Settings of a transaction that name its tenant, in a module that needs no driver: schemas mention them everywhere."""

from __future__ import annotations

from typing import Final

TENANT_VARIABLE: Final = "runstead.tenant_id"
"""Setting of a transaction that policies of row-level security compare with."""
TENANT_LABEL_VARIABLE: Final = "runstead.tenant_label"
"""The same, as the first label of namespaces of items."""
