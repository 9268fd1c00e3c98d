"""Encryption handlers that langgraph.json names: loading, and encryption around the stores of a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from runstead.graphs.configuration import GraphConfiguration
from runstead.graphs.modules import GraphLoadError, extend_search_path, load_variable
from runstead.handlers.encryption import InvalidEncryption, check_encryption
from runstead.infra.field_encryption.encrypted_approvals import EncryptedApprovalDeadlines, EncryptedApprovalStore
from runstead.infra.field_encryption.encrypted_assistants import EncryptedAssistantStore
from runstead.infra.field_encryption.encrypted_crons import EncryptedCronStore
from runstead.infra.field_encryption.encrypted_deliveries import EncryptedDeliveryStore
from runstead.infra.field_encryption.encrypted_events import EncryptedRunEventStore
from runstead.infra.field_encryption.encrypted_messages import EncryptedSteeringStore
from runstead.infra.field_encryption.encrypted_runs import (
    EncryptedRunCreateStore,
    EncryptedRunLeaseStore,
    EncryptedRunQueryStore,
    EncryptedThreadPriorityStore,
)
from runstead.infra.field_encryption.encrypted_threads import EncryptedThreadStore
from runstead.infra.field_encryption.item_values import EncryptedItemValues
from runstead.resources.approvals import ApprovalDeadlineStore, ApprovalStore
from runstead.resources.assistants import AssistantStore
from runstead.resources.crons import CronStore
from runstead.resources.threads import ThreadStore
from runstead.resources.webhooks import DeliveryStore
from runstead.runtime.field_encryption import FieldCipher
from runstead.runtime.runs.store import (
    RunCreateStore,
    RunEventStore,
    RunLeaseStore,
    RunQueryStore,
    SteeringStore,
    ThreadPriorityStore,
)

from .unsupported import UnsupportedConfiguration, encryption_source

_JSON: Final = "threads, runs and their events, approvals, assistants, crons, items and metadata of checkpoints"
_BLOBS: Final = "states and pending writes of checkpoints"
_NEVER: Final = "streams, cached values, feedback, descriptions of assistants and addresses of webhooks"


def not_encrypted_by(cipher: FieldCipher) -> str:
    """Return a warning about the data that handlers do not encrypt while there are no keys, and about the remedy."""
    by_kind = {f"{_JSON} (no encrypt.json)": cipher.encrypts_json, f"{_BLOBS} (no encrypt.blob)": cipher.encrypts_blobs}
    left = [what for what, is_encrypted in by_kind.items() if not is_encrypted]
    return (
        f"the encryption handlers of langgraph.json do not encrypt {'; '.join([*left, _NEVER])}: set encryption_keys "
        "for them (docs/encryption.md)"
    )


def load_encryption(configuration: GraphConfiguration) -> object:
    """Load the ``Encryption`` object that langgraph.json names; None if none is named. Runs the user's module, so it
    blocks.

    Raises UnsupportedConfiguration, since the data would be stored unencrypted.
    """
    if configuration.encryption is None:
        return None
    place = f"{configuration.file or configuration.directory}: encryption.path"
    source = encryption_source(configuration)
    extend_search_path(configuration.search_paths)
    try:
        encryption = load_variable(source)
        check_encryption(encryption)
    except GraphLoadError as error:
        raise UnsupportedConfiguration(f"{place}: {source.target} cannot be loaded: {error.problem}") from error
    except InvalidEncryption as error:
        raise UnsupportedConfiguration(f"{place}: {source.target} cannot be used: {error}") from error
    return encryption


@dataclass(frozen=True, slots=True)
class EncryptedStores:
    """Stores with ``cipher`` around them; without a cipher, each store is returned unchanged."""

    cipher: FieldCipher | None

    def threads(self, inner: ThreadStore) -> ThreadStore:
        return inner if self.cipher is None else EncryptedThreadStore(inner, self.cipher)

    def assistants(self, inner: AssistantStore) -> AssistantStore:
        return inner if self.cipher is None else EncryptedAssistantStore(inner, self.cipher)

    def crons(self, inner: CronStore) -> CronStore:
        return inner if self.cipher is None else EncryptedCronStore(inner, self.cipher)

    def approvals(self, inner: ApprovalStore) -> ApprovalStore:
        return inner if self.cipher is None else EncryptedApprovalStore(inner, self.cipher)

    def approval_deadlines(self, inner: ApprovalDeadlineStore) -> ApprovalDeadlineStore:
        return inner if self.cipher is None else EncryptedApprovalDeadlines(inner, self.cipher)

    def deliveries(self, inner: DeliveryStore) -> DeliveryStore:
        return inner if self.cipher is None else EncryptedDeliveryStore(inner, self.cipher)

    def run_creation(self, inner: RunCreateStore) -> RunCreateStore:
        return inner if self.cipher is None else EncryptedRunCreateStore(inner, self.cipher)

    def steering(self, inner: SteeringStore) -> SteeringStore:
        return inner if self.cipher is None else EncryptedSteeringStore(inner, self.cipher)

    def run_queries(self, inner: RunQueryStore) -> RunQueryStore:
        return inner if self.cipher is None else EncryptedRunQueryStore(inner, self.cipher)

    def run_events(self, inner: RunEventStore, *, encrypts: bool) -> RunEventStore:
        return inner if self.cipher is None else EncryptedRunEventStore(inner, self.cipher, encrypts=encrypts)

    def run_leases(self, inner: RunLeaseStore, threads: ThreadStore) -> RunLeaseStore:
        return inner if self.cipher is None else EncryptedRunLeaseStore(inner, self.cipher, self.threads(threads))

    def thread_priorities(self, inner: ThreadPriorityStore) -> ThreadPriorityStore:
        return inner if self.cipher is None else EncryptedThreadPriorityStore(inner, self.cipher)

    @property
    def item_values(self) -> EncryptedItemValues | None:
        return None if self.cipher is None else EncryptedItemValues(self.cipher)

    def would_block(self) -> bool:
        """Return whether the caller's thread runs the handlers, and so must not wait for their results."""
        return self.cipher is not None and self.cipher.is_here
