"""The API reference: the same OpenAPI document that machines read, for people."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from drf_spectacular.generators import SchemaGenerator

Schema = dict[str, Any]
# A schema inside a schema inside a schema is shown; deeper ones only by name.
DEPTH_MAX = 3


@dataclass(frozen=True, slots=True)
class Field:
    """One member of a body, or of an object inside it (`limits[].name`)."""

    name: str
    kind: str
    required: bool
    text: str


@dataclass(frozen=True, slots=True)
class Shape:
    """One form that a body may have."""

    title: str
    fields: list[Field]


@dataclass(frozen=True, slots=True)
class Example:
    """A body as it travels."""

    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What one status means."""

    status: str
    text: str
    examples: list[Example]


@dataclass(slots=True)
class Operation:
    """One thing that the API does."""

    anchor: str
    method: str
    path: str
    summary: str
    text: str
    shapes: list[Shape] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)


@functools.cache
def document() -> Schema:
    """Return the OpenAPI document; it changes with the code alone."""
    generator = SchemaGenerator()  # type: ignore[no-untyped-call]
    made: Schema = generator.get_schema(  # type: ignore[no-untyped-call]
        request=None, public=True
    )
    return made


def openapi(request: HttpRequest) -> HttpResponse:
    """Answer the OpenAPI 3.1 document as JSON."""
    return HttpResponse(
        json.dumps(document(), indent=2, default=str),
        content_type="application/vnd.oai.openapi+json",
    )


def reference(request: HttpRequest) -> HttpResponse:
    """Show every operation with its fields, examples and answers."""
    return render(
        request, "portal/apidocs.html", {"operations": operations(document())}
    )


def operations(schema: Schema) -> list[Operation]:
    """Return what the document describes, as the page shows it."""
    found = []
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            body = operation.get("requestBody", {}).get("content", {})
            content = body.get("application/json", {})
            found.append(
                Operation(
                    anchor=str(operation["operationId"]),
                    method=method.upper(),
                    path=path,
                    summary=operation.get("summary", ""),
                    text=operation.get("description", ""),
                    shapes=list(_shapes(schema, content.get("schema", {}))),
                    examples=_examples(content),
                    answers=[
                        Answer(status, told.get("description", ""), _told(told))
                        for status, told in sorted(operation["responses"].items())
                    ],
                )
            )
    return found


def _told(answer: Schema) -> list[Example]:
    """Return the examples of an answer, whatever its content type."""
    return [
        example
        for content in answer.get("content", {}).values()
        for example in _examples(content)
    ]


def _examples(content: Schema) -> list[Example]:
    """Return the examples of a body."""
    return [
        Example(
            told.get("summary") or name,
            json.dumps(told.get("value"), indent=2, ensure_ascii=False),
        )
        for name, told in content.get("examples", {}).items()
    ]


def _resolved(schema: Schema, node: Schema) -> Schema:
    """Follow a reference."""
    if "$ref" in node:
        found: Schema = schema["components"]["schemas"][node["$ref"].split("/")[-1]]
        return found
    if len(node.get("allOf", ())) == 1:
        return _resolved(schema, node["allOf"][0])
    return node


def _shapes(schema: Schema, node: Schema) -> Iterator[Shape]:
    """Return the forms of a body: one, or one for each alternative."""
    node = _resolved(schema, node)
    for option in node.get("oneOf", [node] if node else []):
        option = _resolved(schema, option)
        if option.get("type") == "array":
            continue  # A list of what the other forms describe.
        fields = list(_fields(schema, option, "", 0))
        if fields:
            yield Shape(option.get("title", "Body"), fields)


def _fields(schema: Schema, node: Schema, prefix: str, depth: int) -> Iterator[Field]:
    """Return the members of an object, those of inner objects after it."""
    required = set(node.get("required", ()))
    for name, member in node.get("properties", {}).items():
        text = member.get("description", "")
        member = _resolved(schema, member)
        yield Field(
            prefix + name,
            _kind(schema, member),
            name in required,
            text or member.get("description", ""),
        )
        inner, mark = member, "."
        if member.get("type") == "array":
            inner, mark = _resolved(schema, member.get("items", {})), "[]."
        if depth < DEPTH_MAX and inner.get("properties"):
            yield from _fields(schema, inner, prefix + name + mark, depth + 1)


def _kind(schema: Schema, node: Schema) -> str:
    """Return a member's type in words."""
    node = _resolved(schema, node)
    if "enum" in node:
        return " | ".join(str(value) for value in node["enum"])
    if "oneOf" in node:
        return " or ".join(_kind(schema, option) for option in node["oneOf"])
    kind = node.get("type", "any")
    words = " or ".join(kind) if isinstance(kind, list) else str(kind)
    if kind == "array":
        words = f"list of {_kind(schema, node.get('items', {}))}"
    if "format" in node:
        words = f"{words} ({node['format']})"
    if "maxLength" in node:
        words = f"{words}, at most {node['maxLength']} characters"
    return words
