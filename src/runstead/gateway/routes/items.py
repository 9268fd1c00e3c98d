"""Routes for items of the store that graphs share."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from runstead.runtime.json_types import JsonObject
from runstead.wire.errors import Unprocessable, sentence_of
from runstead.wire.items import (
    ITEM_DELETE,
    ITEM_PUT,
    ITEM_SEARCH,
    NAMESPACE,
    NAMESPACE_SEARCH,
    ItemDelete,
    ItemPut,
    ItemSearch,
    NamespaceSearch,
    from_item,
    from_namespaces,
)

from ..auth import policy
from ..dependencies import JsonBody, ServicesDep, answer, empty_response
from ..openapi import responses
from ..pages import bounded
from ..route_declaration import declare

router = APIRouter(prefix="/store", tags=["store"])


@router.put("/items", status_code=204)
@declare(policy.ITEM_PUT, responses.NO_CONTENT)
async def put_item(body: Annotated[ItemPut, Depends(JsonBody(ITEM_PUT))], services: ServicesDep) -> Response:
    # Null means that the item never expires; if ttl is omitted, the configuration decides.
    options = {"ttl": body.ttl} if "ttl" in body.model_fields_set else {}
    await services.items.aput(tuple(body.namespace), body.key, body.value, index=body.index, **options)
    return empty_response()


@router.get("/items")
@declare(policy.ITEM_GET, responses.ITEM_OR_NULL)
async def get_item(
    key: str, services: ServicesDep, namespace: Annotated[str, Query()] = "", refresh_ttl: bool | None = None
) -> Response:
    """Returns the item, or null."""
    try:
        labels = NAMESPACE.validate_python(namespace.split(".") if namespace else [])
    except ValidationError as error:
        raise Unprocessable(sentence_of(error.errors(include_url=False, include_context=False))) from error
    item = await services.items.aget(tuple(labels), key, refresh_ttl=refresh_ttl)
    return answer(None if item is None else from_item(item))


@router.delete("/items", status_code=204)
@declare(policy.ITEM_DELETE, responses.NO_CONTENT)
async def delete_item(body: Annotated[ItemDelete, Depends(JsonBody(ITEM_DELETE))], services: ServicesDep) -> Response:
    await services.items.adelete(tuple(body.namespace), body.key)
    return empty_response()


@router.post("/items/search")
@declare(policy.ITEM_SEARCH, responses.ITEMS)
async def search_items(
    body: Annotated[ItemSearch, Depends(JsonBody(ITEM_SEARCH))], services: ServicesDep, request: Request
) -> Response:
    async def find() -> list[JsonObject]:
        found = await services.items.asearch(
            tuple(body.namespace_prefix),
            query=body.query,
            filter=body.filter,
            limit=body.limit or 10,
            offset=body.offset or 0,
            refresh_ttl=body.refresh_ttl,
        )
        return [from_item(item, score=True) for item in found]

    shown, _ = await bounded(request, services, find)
    return answer({"items": shown})


@router.post("/namespaces")
@declare(policy.NAMESPACE_LIST, responses.NAMESPACES)
async def list_namespaces(
    body: Annotated[NamespaceSearch, Depends(JsonBody(NAMESPACE_SEARCH))], services: ServicesDep
) -> Response:
    found = await services.items.alist_namespaces(
        prefix=tuple(body.prefix) if body.prefix else None,
        suffix=tuple(body.suffix) if body.suffix else None,
        max_depth=body.max_depth,
        limit=body.limit or 100,
        offset=body.offset or 0,
    )
    return answer(from_namespaces(found))
