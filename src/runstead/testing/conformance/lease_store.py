"""What every RunLeaseStore must do, sentence by sentence of its contract.

Subclass it and give it ``storage``; see `run_storage`.
"""

from __future__ import annotations

from .lease_claiming import LeaseClaiming
from .lease_recovering import LeaseRecovering
from .lease_settling import LeaseSettling
from .lease_stopping import LeaseStopping


class RunLeaseStoreConformance(LeaseClaiming, LeaseSettling, LeaseStopping, LeaseRecovering):
    """Subclass it and give it ``storage``."""
