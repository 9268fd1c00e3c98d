"""The conformance suite of the ports RunCreateStore, RunQueryStore and RunDeleteStore.

Subclass it and provide ``storage``; see `run_storage`.
"""

from __future__ import annotations

from .run_creating import RunCreating
from .run_finding import RunFinding


class RunStoreConformance(RunCreating, RunFinding):
    """The suite of the run stores. Subclass it and provide ``storage``."""
