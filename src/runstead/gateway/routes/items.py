"""Routes for items of the store that graphs share."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

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

from ..dependencies import JsonBody, Use, answer, nothing
from ..pages import bounded

router = APIRouter(prefix="/store", tags=["store"])


@router.put("/items", status_code=204)
async def put_item(body: Annotated[ItemPut, Depends(JsonBody(ITEM_PUT))], use: Use) -> Response:
    # Null means that the item never expires; if ttl is omitted, the configuration decides.
    options = {"ttl": body.ttl} if "ttl" in body.model_fields_set else {}
    await use.items.aput(tuple(body.namespace), body.key, body.value, index=body.index, **options)
    return nothing()


@router.get("/items")
async def get_item(
    key: str, use: Use, namespace: Annotated[str, Query()] = "", refresh_ttl: bool | None = None
) -> Response:
    """Returns the item, or null."""
    try:
        labels = NAMESPACE.validate_python(namespace.split(".") if namespace else [])
    except ValidationError as error:
        raise Unprocessable(sentence_of(error.errors(include_url=False, include_context=False))) from error
    item = await use.items.aget(tuple(labels), key, refresh_ttl=refresh_ttl)
    return answer(None if item is None else from_item(item))


@router.delete("/items", status_code=204)
async def delete_item(body: Annotated[ItemDelete, Depends(JsonBody(ITEM_DELETE))], use: Use) -> Response:
    await use.items.adelete(tuple(body.namespace), body.key)
    return nothing()


@router.post("/items/search")
async def search_items(
    body: Annotated[ItemSearch, Depends(JsonBody(ITEM_SEARCH))], use: Use, request: Request
) -> Response:
    async def find() -> list[dict[str, Any]]:
        found = await use.items.asearch(
            tuple(body.namespace_prefix),
            query=body.query,
            filter=body.filter,
            limit=body.limit or 10,
            offset=body.offset or 0,
            refresh_ttl=body.refresh_ttl,
        )
        return [from_item(item, score=True) for item in found]

    shown, _ = await bounded(request, use, find)
    return answer({"items": shown})


@router.post("/namespaces")
async def list_namespaces(body: Annotated[NamespaceSearch, Depends(JsonBody(NAMESPACE_SEARCH))], use: Use) -> Response:
    found = await use.items.alist_namespaces(
        prefix=tuple(body.prefix) if body.prefix else None,
        suffix=tuple(body.suffix) if body.suffix else None,
        max_depth=body.max_depth,
        limit=body.limit or 100,
        offset=body.offset or 0,
    )
    return answer(from_namespaces(found))
