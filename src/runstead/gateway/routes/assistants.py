"""Assistants: found, read, and described."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import Response

from runstead.resources.directory import SubgraphNotFound
from runstead.wire.assistants import (
    ASSISTANT_COUNT,
    ASSISTANT_FIELDS,
    ASSISTANT_SEARCH,
    AssistantCount,
    AssistantSearch,
    from_assistant_record,
    xray_of,
)
from runstead.wire.pages import page_headers
from runstead.wire.selection import check_select, selected

from ..dependencies import JsonBody, Use, answer

router = APIRouter(prefix="/assistants", tags=["assistants"])


@router.post("/search")
async def search_assistants(
    body: Annotated[AssistantSearch, Depends(JsonBody(ASSISTANT_SEARCH))], use: Use
) -> Response:
    check_select(body.select, ASSISTANT_FIELDS)
    where, limit, offset = body.to_filter(), body.limit or 10, body.offset or 0
    found = await use.assistants.search(
        where,
        sort_by=body.sort_by or "created_at",
        sort_order=body.sort_order or "desc",
        limit=limit,
        offset=offset,
    )
    total = offset + len(found) if 0 < len(found) < limit else await use.assistants.count(where)
    shown = [selected(from_assistant_record(record), body.select) for record in found]
    return answer(shown, headers=page_headers(offset=offset, returned=len(found), total=total))


@router.post("/count")
async def count_assistants(body: Annotated[AssistantCount, Depends(JsonBody(ASSISTANT_COUNT))], use: Use) -> Response:
    return answer(await use.assistants.count(body.to_filter()))


@router.get("/{assistant_id}")
async def get_assistant(assistant_id: str, use: Use) -> Response:
    return answer(from_assistant_record(await use.directory.find(assistant_id)))


@router.get("/{assistant_id}/schemas")
async def get_schemas(assistant_id: str, use: Use) -> Response:
    return answer(await use.schemas.schemas(await use.directory.find(assistant_id)))


@router.get("/{assistant_id}/graph")
async def get_graph(assistant_id: str, use: Use, xray: str | None = None) -> Response:
    depth = xray_of(xray)
    return answer(await use.schemas.drawing(await use.directory.find(assistant_id), xray=depth))


@router.get("/{assistant_id}/subgraphs")
async def list_subgraphs(assistant_id: str, use: Use, recurse: bool = False) -> Response:
    return answer(await use.schemas.subgraphs(await use.directory.find(assistant_id), recurse=recurse))


@router.get("/{assistant_id}/subgraphs/{namespace}")
async def get_subgraph(assistant_id: str, namespace: str, use: Use, recurse: bool = False) -> Response:
    assistant = await use.directory.find(assistant_id)
    if not (found := await use.schemas.subgraphs(assistant, namespace=namespace, recurse=recurse)):
        raise SubgraphNotFound(namespace)
    return answer(found)
