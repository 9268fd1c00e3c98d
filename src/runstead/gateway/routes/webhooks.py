"""Routes for webhook deliveries: list, get, redeliver. Specific to Runstead.

A delivery belongs to a run, and is authorized like it.
"""

from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from runstead.resources.webhooks import DeliveryFilter, DeliveryNotFound, DeliveryStatus
from runstead.wire.identifiers import DeliveryIdField, RunIdField, ThreadIdField
from runstead.wire.pages import page_headers
from runstead.wire.webhooks import from_delivery_record

from ..auth import policy
from ..dependencies import Limit, Offset, ServicesDep, answer
from ..route_declaration import declare

router = APIRouter(prefix="/webhooks/deliveries", tags=["webhooks"])

DeliveryId = Annotated[DeliveryIdField, Path()]


@router.get("")
@declare(policy.RUN_SEARCH)
async def list_deliveries(
    services: ServicesDep,
    limit: Limit = 10,
    offset: Offset = 0,
    run_id: RunIdField | None = None,
    thread_id: ThreadIdField | None = None,
    status: DeliveryStatus | None = None,
) -> Response:
    """Deliveries, newest first; of one run, of one thread, or of all."""
    where = DeliveryFilter(run_id, thread_id, status)
    found = await services.deliveries.search(where, limit=limit, offset=offset)
    total = offset + len(found) if 0 < len(found) < limit else await services.deliveries.count(where)
    shown = [from_delivery_record(record) for record in found]
    return answer(shown, headers=page_headers(offset=offset, returned=len(found), total=total))


@router.get("/{delivery_id}")
@declare(policy.DELIVERY_READ)
async def get_delivery(delivery_id: DeliveryId, services: ServicesDep) -> Response:
    """One delivery, with its attempts."""
    if (record := await services.deliveries.get(delivery_id)) is None:
        raise DeliveryNotFound(delivery_id)
    return answer(from_delivery_record(record, await services.deliveries.attempts(delivery_id)))


@router.post("/{delivery_id}/redeliver", status_code=202)
@declare(policy.DELIVERY_UPDATE)
async def redeliver(delivery_id: DeliveryId, services: ServicesDep) -> Response:
    """Sends the delivery again now, in whatever state it is."""
    if (record := await services.deliveries.redeliver(delivery_id)) is None:
        raise DeliveryNotFound(delivery_id)
    return answer(from_delivery_record(record), 202)
