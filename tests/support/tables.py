"""Key tables of the documentation, made from the models, and the places in a page where they stand.

<!-- keys KernelSpec -->
…
<!-- end -->
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Collection, Mapping

from pydantic.fields import FieldInfo

from moby.config.decode import keys
from moby.config.spec import Spec

_MARKED = re.compile(r"(<!-- keys (\w+)(?: without (\w+))? -->\n).*?(<!-- end -->\n)", re.DOTALL)
_HEAD = ("| Key | Value | Meaning |", "|---|---|---|")
_WORDS = {str: "text", int: "number", bool: "true or false", typing.Any: "anything"}


def filled(page: str, models: Mapping[str, type[Spec]]) -> str:
    """``page`` with the table of the named model in every marked place."""

    def filled_place(found: re.Match[str]) -> str:
        left_out = keys(models[found[3]]) if found[3] else ()
        return found[1] + table(models[found[2]], left_out=left_out) + found[4]

    return _MARKED.sub(filled_place, page)


def table(
    model: type[Spec],
    *,
    left_out: Collection[str] = (),
    defaults: bool = False,
    named: Mapping[type[Spec], str] = types.MappingProxyType({}),
) -> str:
    """The keys of ``model`` but those ``left_out``; with a column of ``defaults`` when there are some to show.

    ``named`` are models that the page has no section for, by what to call them.
    """
    rows = ["| Key | Value | Default | Meaning |", "|---|---|---|---|"] if defaults else list(_HEAD)
    for key, field in zip(keys(model), model.model_fields.values(), strict=True):
        if key not in left_out:
            needed = ", required" if field.is_required() else ""
            default = f" {_default(field)} |" if defaults else ""
            rows.append(f"| `{key}` | {_kind(field.annotation, named)}{needed} |{default} {field.description} |")
    return "\n".join(rows) + "\n"


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.is_required() or value is None or value in ("", ()):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{', '.join(value) if isinstance(value, tuple) else value}`"


def _kind(annotation: object, named: Mapping[type[Spec], str]) -> str:
    """A type as a reader of YAML calls it."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _kind(inner[0], named)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_kind(each, named) for each in inner if each is not type(None))
    if origin is typing.Literal:
        return " or ".join(f"`{each}`" for each in inner if each)
    if origin is tuple:
        return f"list of {_kind(inner[0], named)}"
    if origin is dict:
        return f"mapping of text to {_kind(inner[1], named)}"
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return named.get(annotation) or f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    return _WORDS[annotation]  # type: ignore[index]  # a plain type
