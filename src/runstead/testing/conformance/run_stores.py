"""What every RunCreateStore, RunQueryStore and RunDeleteStore must do, sentence by sentence of their contracts.

Subclass it and give it ``storage``; see `run_storage`.
"""

from __future__ import annotations

from .run_creating import RunCreating
from .run_finding import RunFinding


class RunStoreConformance(RunCreating, RunFinding):
    """Subclass it and give it ``storage``."""
