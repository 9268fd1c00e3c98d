"""Ids in requests. Text that is not a UUID never reaches a store, a path or a log."""

from __future__ import annotations

import re
from typing import Annotated, Final, TypeAlias

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from runstead.resources.approvals import ApprovalId
from runstead.runtime.runs.types import AssistantId, CronId, RunId, ThreadId

_UUID: Final = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}", re.IGNORECASE)


def as_uuid(text: str) -> str | None:
    """Return the canonical form of a UUID, or None."""
    if not _UUID.fullmatch(text):
        return None
    digits = text.replace("-", "").lower()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


class _Identifier:
    def __init__(self, complaint: str) -> None:
        self._complaint = complaint

    def __call__(self, text: str) -> str:
        if (found := as_uuid(text)) is None:
            raise PydanticCustomError("identifier", "{complaint}", {"complaint": self._complaint})
        return found


ThreadIdField: TypeAlias = Annotated[ThreadId, AfterValidator(_Identifier("Invalid thread ID: must be a UUID"))]
RunIdField: TypeAlias = Annotated[RunId, AfterValidator(_Identifier("Invalid run ID: must be a UUID"))]
CheckpointIdField: TypeAlias = Annotated[str, AfterValidator(_Identifier("Invalid checkpoint ID"))]
AssistantIdField: TypeAlias = Annotated[
    AssistantId, AfterValidator(_Identifier("Invalid assistant ID: must be a UUID"))
]
DeliveryIdField: TypeAlias = Annotated[str, AfterValidator(_Identifier("Invalid delivery ID: must be a UUID"))]
ApprovalIdField: TypeAlias = Annotated[ApprovalId, AfterValidator(_Identifier("Invalid approval ID: must be a UUID"))]
CronIdField: TypeAlias = Annotated[CronId, AfterValidator(_Identifier("Invalid cron ID: must be a UUID"))]
