"""Routes for the files of a thread and for the user's memory: upload, list, download, zip, delete. Specific to
Runstead.
"""

from collections.abc import AsyncIterator
from typing import Annotated, Final, TypeAlias

from fastapi import APIRouter, Query, Request
from starlette.datastructures import UploadFile
from starlette.responses import Response, StreamingResponse
from starlette.types import Message

from runstead.resources.thread_files import ThreadFiles
from runstead.runtime.runs.types import ThreadId as IdOfThread
from runstead.wire.errors import BodyTooLarge, NotFound, Unprocessable, UnsupportedMediaType
from runstead.wire.files import download_headers, from_file_entry, range_of
from runstead.workspace import FileNotFound, OpenFile, folders_of, parts_in, parts_of

from ..auth import policy
from ..dependencies import Limit, Offset, ServicesDep, ThreadId, answer, empty_response
from ..memory_guard import MEMORY, RequestMemory
from ..openapi import responses
from ..route_declaration import declare
from ..services import Services

router = APIRouter(tags=["files"])

MAX_FILES: Final = 20
"""Files in one upload."""
_PIECE: Final = 128 * 1024

FilePath = Annotated[str, Query(max_length=1000, description="Path on the thread, such as `outputs/report.pdf`.")]
Folder = Annotated[str, Query(max_length=1000, description="`uploads`, `workspace` or `outputs`, or a folder in it.")]
MemoryPath = Annotated[str, Query(max_length=1000, description="Path of a file, such as `memory/notes.md`.")]
MemoryFolder = Annotated[str, Query(max_length=1000, description="`memory`, or a folder in it.")]
RequestedThread: TypeAlias = IdOfThread | None
"""None stands for the user's memory."""


@router.post("/threads/{thread_id}/files")
@declare(policy.FILE_WRITE, responses.FILES)
async def upload_files(
    thread_id: ThreadId, request: Request, services: ServicesDep, folder: Folder = "uploads"
) -> Response:
    """Stores files in place of those with the same names. The body is a form (multipart/form-data) with files."""
    return await _upload(thread_id, request, services, folder)


@router.get("/threads/{thread_id}/files")
@declare(policy.THREAD_READ, responses.FILES)
async def list_files(thread_id: ThreadId, services: ServicesDep, limit: Limit = 1000, offset: Offset = 0) -> Response:
    """All files of the thread, sorted by path."""
    return await _list(thread_id, services, limit, offset)


@router.get("/threads/{thread_id}/files/content")
@declare(policy.THREAD_READ, responses.CONTENT)
async def download_file(thread_id: ThreadId, request: Request, services: ServicesDep, path: FilePath = "") -> Response:
    """The content of a file, or the range of it that the header `range` names."""
    return await _download(thread_id, request, services, path)


@router.get("/threads/{thread_id}/files/archive")
@declare(policy.THREAD_READ, responses.ARCHIVE)
async def download_archive(thread_id: ThreadId, services: ServicesDep) -> Response:
    """A zip archive of all files of the thread."""
    return await _content(await _files(services).archive(thread_id), None)


@router.delete("/threads/{thread_id}/files", status_code=204)
@declare(policy.FILE_WRITE, responses.NO_CONTENT)
async def delete_file(thread_id: ThreadId, services: ServicesDep, path: FilePath = "") -> Response:
    """Deletes a file."""
    return await _delete(thread_id, services, path)


@router.post("/memory/files")
@declare(policy.MEMORY_WRITE, responses.FILES)
async def upload_memory(request: Request, services: ServicesDep, folder: MemoryFolder = "memory") -> Response:
    """Stores files in the user's memory, in place of those with the same names. The body is a form with files."""
    return await _upload(None, request, services, folder)


@router.get("/memory/files")
@declare(policy.MEMORY_READ, responses.FILES)
async def list_memory(services: ServicesDep, limit: Limit = 1000, offset: Offset = 0) -> Response:
    """All files of the user's memory, sorted by path."""
    return await _list(None, services, limit, offset)


@router.get("/memory/files/content")
@declare(policy.MEMORY_READ, responses.CONTENT)
async def download_memory(request: Request, services: ServicesDep, path: MemoryPath = "") -> Response:
    """The content of a file of the user's memory, or the range of it that the header `range` names."""
    return await _download(None, request, services, path)


@router.get("/memory/files/archive")
@declare(policy.MEMORY_READ, responses.ARCHIVE)
async def download_memory_archive(services: ServicesDep) -> Response:
    """A zip archive of the user's memory."""
    return await _content(await _files(services).archive(None), None)


@router.delete("/memory/files", status_code=204)
@declare(policy.MEMORY_WRITE, responses.NO_CONTENT)
async def delete_memory(services: ServicesDep, path: MemoryPath = "") -> Response:
    """Deletes a file of the user's memory."""
    return await _delete(None, services, path)


async def _upload(thread: RequestedThread, request: Request, services: Services, folder: str) -> Response:
    files = _files(services)
    await files.check_access(thread)
    parts_of(folder)
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise UnsupportedMediaType("Send the files as multipart/form-data: curl -F file=@report.pdf")
    counted = Request(request.scope, _UploadReceiver(request, services.options.max_upload_bytes))
    async with counted.form(max_files=MAX_FILES, max_fields=MAX_FILES) as form:
        uploads = [(name, value) for name, value in form.multi_items() if isinstance(value, UploadFile)]
        if not uploads:
            raise Unprocessable("The form contains no file: curl -F file=@report.pdf")
        paths = [f"{folder}/{upload.filename or ''}" for _, upload in uploads]
        for path in paths:
            # All names first, so that an invalid one stores none of the files.
            parts_in(path, folders_of(thread))
        stored = [
            await files.write(thread, path, _chunks(upload)) for path, (_, upload) in zip(paths, uploads, strict=True)
        ]
    return answer([from_file_entry(entry) for entry in stored])


async def _list(thread: RequestedThread, services: Services, limit: int, offset: int) -> Response:
    found = await _files(services).list(thread)
    headers = {"x-pagination-total": str(len(found))}
    return answer([from_file_entry(entry) for entry in found[offset : offset + limit]], headers=headers)


async def _download(thread: RequestedThread, request: Request, services: Services, path: str) -> Response:
    files = _files(services)
    await files.check_access(thread)
    opened = await files.open(thread, path)
    try:
        asked = range_of(request.headers.get("range"), request.headers.get("if-range"), opened.entry)
    except BaseException:
        await opened.close()
        raise
    return await _content(opened, asked)


async def _delete(thread: RequestedThread, services: Services, path: str) -> Response:
    files = _files(services)
    await files.check_access(thread)
    if not await files.delete(thread, path):
        raise FileNotFound(path)
    return empty_response()


def _files(services: Services) -> ThreadFiles:
    if services.files is None:
        raise NotFound(
            "This server stores no files; set files_url to an object store, or files_dir to a folder that all servers "
            "and workers share"
        )
    return services.files


class _UploadReceiver:
    """Messages of a request's body up to a limit. Parsed parts are written to disk, so their memory is given back."""

    def __init__(self, request: Request, limit: int) -> None:
        self._request, self._limit, self._size = request, limit, 0
        self._memory: RequestMemory = request.scope[MEMORY]

    async def __call__(self) -> Message:
        message = await self._request.receive()
        size = len(message.get("body", b""))
        self._size += size
        self._memory.give_back(size)
        if self._size > self._limit:
            raise BodyTooLarge(self._limit)
        return message


async def _chunks(upload: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await upload.read(_PIECE):
        yield chunk


async def _content(opened: OpenFile, asked: tuple[int, int] | None) -> Response:
    start, length = asked or (0, opened.entry.size)
    try:
        # A store that is unavailable is an error with a status, not a response that breaks off.
        await opened.read(start, min(_PIECE, length))
    except BaseException:
        await opened.close()
        raise
    headers = {**download_headers(opened.entry), "content-length": str(length)}
    if asked is not None:
        headers["content-range"] = f"bytes {start}-{start + length - 1}/{opened.entry.size}"
    return StreamingResponse(_pieces(opened, start, length), 200 if asked is None else 206, headers)


async def _pieces(opened: OpenFile, start: int, length: int) -> AsyncIterator[bytes]:
    try:
        end = start + length
        while start < end and (piece := await opened.read(start, min(_PIECE, end - start))):
            yield piece
            start += len(piece)
    finally:
        await opened.close()
