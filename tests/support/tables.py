"""Key tables of the documentation, made from the models, and the places in a page where they stand.

<!-- keys KernelSpec -->
…
<!-- end -->
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping

from pydantic.fields import FieldInfo

from moby.config.decode import keys
from moby.config.spec import Spec

_MARKED = re.compile(r"(<!-- keys (\w+)(?: without (\w+))? -->\n).*?(<!-- end -->\n)", re.DOTALL)
_WORDS = {str: "text", int: "number", bool: "true or false"}


def filled(page: str, models: Mapping[str, type[Spec]]) -> str:
    """``page`` with the table of the named model in every marked place."""

    def table(found: re.Match[str]) -> str:
        left_out = set(keys(models[found[3]])) if found[3] else set()
        return found[1] + _table(models[found[2]], left_out) + found[4]

    return _MARKED.sub(table, page)


def _table(model: type[Spec], left_out: set[str]) -> str:
    rows = ["| Key | Value | Meaning |", "|---|---|---|"]
    for key, field in zip(keys(model), model.model_fields.values(), strict=True):
        if key not in left_out:
            rows.append(f"| `{key}` | {_value(field)} | {field.description} |")
    return "\n".join(rows) + "\n"


def _value(field: FieldInfo) -> str:
    needed = ", required" if field.is_required() else ""
    return f"{_kind(field.annotation)}{needed}"


def _kind(annotation: object) -> str:
    """A type as a reader of YAML calls it."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _kind(inner[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_kind(each) for each in inner if each is not type(None))
    if origin is typing.Literal:
        return " or ".join(f"`{each}`" for each in inner if each)
    if origin is tuple:
        return f"list of {_kind(inner[0])}"
    if origin is dict:
        return f"mapping of text to {_kind(inner[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    return _WORDS[annotation]  # type: ignore[index]  # a plain type
