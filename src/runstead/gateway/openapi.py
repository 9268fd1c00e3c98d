"""The API's description, with the bodies that the routes read by themselves."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from .answers import ANSWERS, FAILURES
from .dependencies import JsonBody
from .shapes import SHAPES

_REF = "#/components/schemas/{model}"


def describe(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Make ``app.openapi()`` tell of request bodies and failures. Built when it is first asked for."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app, routers)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _described(app: FastAPI, routers: Sequence[APIRouter]) -> dict[str, Any]:
    schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
    models: dict[str, Any] = schema.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        models.pop(name, None)
    models.update(SHAPES)
    for route in _routes(routers):
        for method in route.methods or ():
            operation = schema["paths"].get(route.path, {}).get(method.lower())
            if operation is None:
                continue
            operation["responses"] = {**_answers(method, route.path, operation["responses"]), **FAILURES}
            if (body := _body_of(route.dependant)) is not None:
                operation["requestBody"] = _request_body(body, models)
    return schema


def _answers(method: str, path: str, told: dict[str, Any]) -> dict[str, Any]:
    """What the table says instead of what FastAPI takes for granted, beside what the route itself says of failures."""
    listed = ANSWERS.get((method, path))
    hidden = ("422",) if listed is None else ("422", "200", "204")
    return {**{status: one for status, one in told.items() if status not in hidden}, **(listed or {})}


def _routes(routers: Sequence[APIRouter]) -> list[APIRoute]:
    routes = [route for router in routers for route in router.routes]
    return [route for route in routes if isinstance(route, APIRoute) and route.include_in_schema]


def _body_of(dependant: Dependant) -> JsonBody[Any] | None:
    return next((below.call for below in dependant.dependencies if isinstance(below.call, JsonBody)), None)


def _request_body(body: JsonBody[Any], models: dict[str, Any]) -> dict[str, Any]:
    found = body.adapter.json_schema(ref_template=_REF)
    models.update(found.pop("$defs", {}))
    if found.get("type") == "object" and "title" in found:
        models[found["title"]] = found
        found = {"$ref": _REF.format(model=found["title"])}
    return {"required": True, "content": {"application/json": {"schema": found}}}
