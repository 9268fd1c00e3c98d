"""OpenAPI description, including the bodies that the routes parse themselves."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from runstead.runtime.json_types import JsonMapping, JsonObject

from ..custom_app import CustomApp
from ..dependencies import JsonBody
from ..route_declaration import declaration_of
from .responses import FAILURES, Responses
from .schemas import SCHEMAS

_REF = "#/components/schemas/{model}"


def describe(app: FastAPI, routers: Sequence[APIRouter], completed: Callable[[JsonObject], JsonObject]) -> None:
    """Add request bodies and error responses to ``app.openapi()``. Built on the first request.

    ``completed`` adds to each result what is known by then.
    """

    def openapi() -> JsonObject:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app, routers)
        return completed(app.openapi_schema)

    app.openapi = openapi  # type: ignore[method-assign]


def secured(schema: JsonObject, security: JsonMapping | None) -> JsonObject:
    """Return ``schema`` with ``auth.openapi`` of langgraph.json: security schemes, global requirements, and those of
    single routes."""
    if not security:
        return schema
    schemes = {"securitySchemes": security.get("securitySchemes", {})}
    paths = {path: dict(methods) for path, methods in schema["paths"].items()}
    for path, methods in security.get("paths", {}).items():
        for method, asked in methods.items():
            if (operation := paths.get(path, {}).get(method.lower())) is not None:
                paths[path][method.lower()] = {**operation, "security": asked}
    everywhere = {"security": security["security"]} if "security" in security else {}
    return {**schema, "components": {**schema["components"], **schemes}, "paths": paths, **everywhere}


def joined(schema: JsonObject, custom: CustomApp | None) -> JsonObject:
    """Return ``schema`` with the routes of the custom app, which take precedence; only for apps that describe
    themselves."""
    if custom is None or not isinstance(custom.app, FastAPI):
        return schema
    theirs = custom.app.openapi()
    components = dict(schema["components"])
    own = theirs.get("components", {})
    # Two different models with the same name need different names.
    taken = {
        name
        for name in own.get("schemas", {})
        if own["schemas"][name] != components["schemas"].get(name, own["schemas"][name])
    }
    theirs = _renamed(theirs, taken)
    for kind, entries in theirs.get("components", {}).items():
        components[kind] = {**components.get(kind, {}), **entries}
    paths = {path: dict(methods) for path, methods in schema["paths"].items()}
    for path, methods in theirs.get("paths", {}).items():
        paths[path] = {**paths.get(path, {}), **methods}
    return {**schema, "components": components, "paths": paths}


def _renamed(value: object, names: Collection[str]) -> Any:
    """Return ``value`` with the models of these names renamed to Custom…, including references to them."""
    if not names:
        return value
    references = {_REF.format(model=name): _REF.format(model=f"Custom{name}") for name in names}

    def walked(one: object) -> Any:
        if isinstance(one, dict):
            return {key: references.get(below, below) if key == "$ref" else walked(below) for key, below in one.items()}
        return [walked(below) for below in one] if isinstance(one, list) else one

    renamed: JsonObject = walked(value)
    schemas = renamed["components"]["schemas"]
    renamed["components"]["schemas"] = {
        f"Custom{name}" if name in names else name: one for name, one in schemas.items()
    }
    return renamed


def _described(app: FastAPI, routers: Sequence[APIRouter]) -> JsonObject:
    schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
    models: JsonObject = schema.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        models.pop(name, None)
    models.update(SCHEMAS)
    for route in _routes(routers):
        for method in route.methods or ():
            operation = schema["paths"].get(route.path, {}).get(method.lower())
            if operation is None:
                continue
            declared = declaration_of(route.endpoint).responses
            operation["responses"] = {**_responses(declared, operation["responses"]), **FAILURES}
            if (body := _body_of(route.dependant)) is not None:
                operation["requestBody"] = _request_body(body, models)
    return schema


def _responses(declared: Responses | None, default: JsonObject) -> JsonObject:
    """Return the declared responses instead of FastAPI's defaults, together with the error responses of the route
    itself."""
    hidden = ("422",) if declared is None else ("422", "200", "204")
    return {**{status: one for status, one in default.items() if status not in hidden}, **(declared or {})}


def _routes(routers: Sequence[APIRouter]) -> list[APIRoute]:
    routes = [route for router in routers for route in router.routes]
    return [route for route in routes if isinstance(route, APIRoute) and route.include_in_schema]


def _body_of(dependant: Dependant) -> JsonBody[object] | None:
    return next((below.call for below in dependant.dependencies if isinstance(below.call, JsonBody)), None)


def _request_body(body: JsonBody[object], models: JsonObject) -> JsonObject:
    found = body.adapter.json_schema(ref_template=_REF)
    models.update(found.pop("$defs", {}))
    if found.get("type") == "object" and "title" in found:
        models[found["title"]] = found
        found = {"$ref": _REF.format(model=found["title"])}
    return {"required": True, "content": {"application/json": {"schema": found}}}
