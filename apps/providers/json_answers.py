"""What adapters of JSON protocols share: an answer as an object, and the objects in one of its lists."""

from __future__ import annotations

from collections.abc import Mapping

from apps.common.wire import Answer, HttpReply
from apps.providers.parsing import parse_json


def read_object(answer: Answer | None, *statuses: int) -> Mapping[str, object]:
    """The object that an answer with one of these HTTP statuses holds; empty for everything else."""
    value = parse_json(answer.body) if isinstance(answer, HttpReply) and answer.status in statuses else None
    return value if isinstance(value, dict) else {}


def objects_in(body: Mapping[str, object], name: str) -> list[Mapping[str, object]]:
    """The objects in the list of this name; empty when there is no such list."""
    listed = body.get(name)
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
