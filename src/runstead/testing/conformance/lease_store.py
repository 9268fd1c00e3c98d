"""The conformance suite of the RunLeaseStore port; it covers each sentence of its contract.

Subclass it and provide ``storage``; see `run_storage`.
"""

from __future__ import annotations

from .lease_claiming import LeaseClaiming
from .lease_recovering import LeaseRecovering
from .lease_settling import LeaseSettling
from .lease_stopping import LeaseStopping
from .lease_usage import LeaseUsage


class RunLeaseStoreConformance(LeaseClaiming, LeaseSettling, LeaseStopping, LeaseRecovering, LeaseUsage):
    """The suite of RunLeaseStore. Subclass it and provide ``storage``."""
