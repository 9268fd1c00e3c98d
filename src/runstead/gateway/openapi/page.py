"""HTML page of the API documentation, without scripts and without external resources.

The usual pages load their code from a content delivery network; this one makes no requests that the operator has not
configured.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final

from runstead.runtime.json_types import JsonMapping

_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h2{margin:2rem 0 .5rem;border-bottom:1px solid #ddd}summary{cursor:pointer;padding:.2rem 0}
code{font:13px ui-monospace,monospace}b{display:inline-block;width:4.5rem}table{border-collapse:collapse;margin:0 1rem}
td{padding:.1rem 1rem .1rem 0;vertical-align:top}small{color:#666}
"""


def page_of(schema: JsonMapping) -> str:
    """Return the page: all operations by tag, each with its parameters and the fields of its body."""
    info = schema["info"]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(info['title'])} API</title>"
        f"<style>{_STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        f"<p><a href=openapi.json>openapi.json</a></p>{''.join(_sections(schema))}</html>"
    )


def _sections(schema: JsonMapping) -> Iterator[str]:
    by_tag: dict[str, list[str]] = {}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["other"])[0]
            by_tag.setdefault(tag, []).append(_operation(method, path, operation, schema))
    for tag, operations in by_tag.items():
        yield f"<h2>{escape(tag)}</h2>{''.join(operations)}"


def _operation(method: str, path: str, operation: JsonMapping, schema: JsonMapping) -> str:
    rows = [_row(one["name"], one["in"], one.get("schema", {})) for one in operation.get("parameters", ())]
    rows += [_row(name, "body", field) for name, field in _fields(operation, schema)]
    description = escape(operation.get("description") or operation.get("summary") or "")
    return (
        f"<details><summary><code><b>{method.upper()}</b> {escape(path)}</code></summary>"
        f"<p>{description}</p><table>{''.join(rows)}</table></details>"
    )


def _row(name: str, place: str, field: JsonMapping) -> str:
    return f"<tr><td><code>{escape(name)}</code><td><small>{place}</small><td><code>{escape(_type(field))}</code></tr>"


def _fields(operation: JsonMapping, schema: JsonMapping) -> Iterator[tuple[str, JsonMapping]]:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    body = body.get("items", body)
    model = schema["components"]["schemas"].get(str(body.get("$ref", "")).rpartition("/")[2], {})
    yield from model.get("properties", {}).items()


def _type(field: JsonMapping) -> str:
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if choices := field.get("anyOf"):
        return " | ".join(dict.fromkeys(_type(choice) for choice in choices))
    if values := field.get("enum") or ([field["const"]] if "const" in field else None):
        return " | ".join(repr(value) for value in values)
    if field.get("type") == "array":
        return f"[{_type(field.get('items', {}))}]"
    return str(field.get("type", "any"))
