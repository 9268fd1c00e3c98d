"""Routes of chat channels: codes and links of the user, and the addresses to which chat services deliver messages.
Specific to Runstead.
"""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from runstead.resources.channels import ChannelNotFound, LinkNotFound, digest_of, new_code
from runstead.wire.channels import ChannelRequest, from_channel_link, from_code

from ..auth import policy
from ..dependencies import ServicesDep, answer, empty_response
from ..openapi import responses
from ..request_body import body_of
from ..route_declaration import declare

router = APIRouter(tags=["channels"])

Name = Annotated[str, Query(min_length=1, max_length=500)]
Workspace = Annotated[str | None, Query(max_length=500, description="Absent: in all workspaces.")]


@router.post("/channels/codes")
@declare(policy.THREAD_SEARCH, responses.CHANNEL_CODE, writes=True)
async def create_code(services: ServicesDep) -> Response:
    """A one-time code that links a chat user to the account of the caller, valid for 10 minutes."""
    code = new_code()
    return answer(from_code(code, await services.channel_links.create_code(digest_of(code))))


@router.get("/channels/links")
@declare(policy.THREAD_SEARCH, responses.CHANNEL_LINKS)
async def list_links(services: ServicesDep) -> Response:
    """The chat users that are linked to the account of the caller."""
    return answer([from_channel_link(link) for link in await services.channel_links.list_links()])


@router.delete("/channels/links", status_code=204)
@declare(policy.THREAD_SEARCH, responses.NO_CONTENT, writes=True)
async def delete_link(
    services: ServicesDep, provider: Name, chat_user_id: Name, workspace: Workspace = None
) -> Response:
    """Unlinks a chat user from the account of the caller."""
    if not await services.channel_links.delete(provider, chat_user_id, workspace):
        raise LinkNotFound(provider, chat_user_id)
    return empty_response()


@router.post(policy.CHANNEL_EVENTS, include_in_schema=False)
@declare()
async def receive_events(
    provider: Annotated[str, Path(max_length=100)], request: Request, services: ServicesDep
) -> Response:
    """Messages from a chat service, whose adapter checks the signature."""
    if services.channels is None:
        raise ChannelNotFound(provider)
    body = await body_of(request, services.options.max_body_bytes, is_json=False)
    found = await services.channels.webhook(provider, ChannelRequest(dict(request.headers), body))
    return Response(found.body, media_type=found.content_type)
