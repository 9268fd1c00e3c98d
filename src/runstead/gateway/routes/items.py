"""Items of the store that graphs share: written, read, searched, forgotten."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import ValidationError
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

_NO_INDEX = "{field}: this server's store does not search by meaning; configure store.index, or use filter"

router = APIRouter(prefix="/store", tags=["store"])


@router.put("/items", status_code=204)
async def put_item(body: Annotated[ItemPut, Depends(JsonBody(ITEM_PUT))], use: Use) -> Response:
    if body.index and not use.options.semantic_search:
        raise Unprocessable(_NO_INDEX.format(field="index"))
    if body.ttl is not None and not use.items.supports_ttl:
        raise Unprocessable("ttl: this server's store does not expire items; leave it out")
    options = {} if body.ttl is None else {"ttl": body.ttl}
    await use.items.aput(tuple(body.namespace), body.key, body.value, index=body.index, **options)
    return nothing()


@router.get("/items")
async def get_item(
    key: str, use: Use, namespace: Annotated[str, Query()] = "", refresh_ttl: bool | None = None
) -> Response:
    """The item, or null."""
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
async def search_items(body: Annotated[ItemSearch, Depends(JsonBody(ITEM_SEARCH))], use: Use) -> Response:
    if body.query is not None and not use.options.semantic_search:
        raise Unprocessable(_NO_INDEX.format(field="query"))
    found = await use.items.asearch(
        tuple(body.namespace_prefix),
        query=body.query,
        filter=body.filter,
        limit=body.limit or 10,
        offset=body.offset or 0,
        refresh_ttl=body.refresh_ttl,
    )
    return answer({"items": [from_item(item, score=True) for item in found]})


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
