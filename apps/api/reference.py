"""The reference page of the API, made from its own description: one page of HTML, no script, no foreign host."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Value:
    """One parameter or one name of a document: what it takes, and what it is for."""

    name: str
    takes: str
    is_required: bool
    about: str


@dataclass(frozen=True, slots=True)
class Reply:
    """One status that an endpoint answers with, and the document that comes with it."""

    status: str
    document: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one address."""

    method: str
    path: str
    about: str
    parameters: tuple[Value, ...]
    body: str
    replies: tuple[Reply, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """One shape of JSON."""

    name: str
    about: str
    values: tuple[Value, ...]


def show_reference(request: HttpRequest, description: Schema) -> HttpResponse:
    """The page."""
    found = {
        "title": description["info"]["title"],
        "version": description["info"]["version"],
        "endpoints": list(endpoints_of(description)),
        "documents": [document_of(name, schema) for name, schema in description["components"]["schemas"].items()],
    }
    return render(request, "api/reference.html", found)


def endpoints_of(description: Schema) -> Iterator[Endpoint]:
    """Every endpoint in the order of the description."""
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield Endpoint(
                method=method.upper(),
                path=path,
                about=operation.get("description", operation.get("summary", "")),
                parameters=tuple(parameter_of(found) for found in operation.get("parameters", [])),
                body=document_in(operation.get("requestBody", {})),
                replies=tuple(
                    Reply(str(status), document_in(reply)) for status, reply in operation["responses"].items()
                ),
            )


def parameter_of(found: Schema) -> Value:
    """A parameter of the address, the query or a header."""
    about = found.get("description", found["schema"].get("description", ""))
    return Value(f"{found['name']} ({found['in']})", takes(found["schema"]), bool(found.get("required")), about)


def document_in(place: Schema) -> str:
    """What a body holds, with its media type; empty where there is none."""
    return ", ".join(f"{takes(content['schema'])} as {media}" for media, content in place.get("content", {}).items())


def document_of(name: str, schema: Schema) -> Document:
    """One shape with its names."""
    required = schema.get("required", [])
    values = tuple(
        Value(key, takes(found), key in required, found.get("description", ""))
        for key, found in schema.get("properties", {}).items()
    )
    return Document(name, schema.get("description", ""), values)


def takes(schema: Schema) -> str:
    """What a value may be, in a few words."""
    match schema:
        case {"$ref": reference}:
            return str(reference).rpartition("/")[2]
        case {"anyOf": choices}:
            return " or ".join(takes(choice) for choice in choices)
        case {"enum": words}:
            return " | ".join(json.dumps(word) for word in words)
        case {"const": word}:
            return json.dumps(word)
        case {"type": "array", "items": items}:
            return f"list of {takes(items)}"
        case {"type": "string", "format": form}:
            return str(form)
        case {"type": kind}:
            return str(kind)
        case _:
            return str(schema.get("title", "anything"))
