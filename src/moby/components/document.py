"""``build.yml`` text → ``Document``, every fault with its ``file:line:column``."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from moby.components.model import Document
from moby.errors import ConfigError

_MAX_BYTES = 1 << 20


def load(path: Path) -> Document:
    """The document at ``path``. Raises ``ConfigError`` with all faults at once."""
    if path.stat().st_size > _MAX_BYTES:
        raise ConfigError("larger than 1 MiB", where=str(path))
    return parse(path.read_text(), where=str(path))


def parse(text: str, *, where: str) -> Document:
    """The document in ``text``; ``where`` names it in messages."""
    try:
        node = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        value = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{where}:{mark.line + 1}:{mark.column + 1}" if mark else where
        raise ConfigError(error.problem or "not YAML", where=place) from error
    if not isinstance(value, dict):
        raise ConfigError("a recipe is a mapping", where=where)
    try:
        return Document.model_validate_json(json.dumps(value))
    except ValidationError as error:
        faults = [_fault(fault, node, where) for fault in error.errors(include_url=False)]
        raise ConfigError.gather(faults) from None


def _fault(fault: Any, node: yaml.Node | None, where: str) -> ConfigError:
    location = tuple(fault["loc"])
    place = _place(node, location)
    spot = f"{where}:{place}" if place else where
    path = ".".join(str(part) for part in location)
    if fault["type"] == "extra_forbidden":
        known = [field.alias or name for name, field in Document.model_fields.items()]
        near = difflib.get_close_matches(str(location[-1]), known, 1) if len(location) == 1 else []
        return ConfigError(f"unknown key {path}", where=spot, fix=f"did you mean {near[0]}?" if near else "")
    return ConfigError(f"{path}: {fault['msg']}", where=spot)


def _place(node: yaml.Node | None, location: tuple[int | str, ...]) -> str:
    """``line:column`` of the deepest node on the way to ``location``."""
    if node is None:
        return ""
    mark = node.start_mark
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == str(part)), None)
            if pair is None:
                break
            node, mark = pair[1], pair[0].start_mark
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            mark = node.start_mark
        else:
            break
    return f"{mark.line + 1}:{mark.column + 1}"
