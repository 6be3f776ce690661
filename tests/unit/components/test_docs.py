"""The tables in docs/components.md are those of the models."""

from __future__ import annotations

import types
import typing
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from moby.components.model import RecipeSpec
from moby.config.container import ImageLabel
from moby.config.decode import keys
from moby.config.spec import Spec

PAGE = Path(__file__).parents[3] / "docs" / "components.md"
BEGIN, END = "<!-- keys -->\n", "<!-- end -->\n"


def kind(annotation: object) -> str:
    """A type as a reader of YAML calls it."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return kind(inner[0])
    if origin in (typing.Union, types.UnionType):
        return kind(next(each for each in inner if each is not type(None)))
    if origin is typing.Literal:
        return "one of " + ", ".join(map(str, inner))
    if origin is tuple:
        return f"list of {kind(inner[0])}"
    if origin is dict:
        return f"mapping to {kind(inner[1])}"
    if annotation is ImageLabel:
        return "the keys of a service"
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    return {str: "text", int: "number", bool: "true or false", typing.Any: "anything"}[annotation]  # type: ignore[index]


def default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is None or value == "" or value == ():
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{', '.join(value) if isinstance(value, tuple) else value}`"


def table(model: type[Spec]) -> str:
    rows = ["| Key | Is | Default | Meaning |", "|---|---|---|---|"]
    for key, field in zip(keys(model), model.model_fields.values(), strict=True):
        rows.append(f"| `{key}` | {kind(field.annotation)} | {default(field)} | {field.description} |")
    return "\n".join(rows) + "\n"


def everything() -> str:
    inner = dict.fromkeys(each for each in keys(RecipeSpec).values() if each is not None and each is not ImageLabel)
    parts = [table(RecipeSpec)]
    for model in inner:
        parts.append(f"### {model.__name__}\n\n{(model.__doc__ or '').splitlines()[0]}\n\n{table(model)}")
    return "\n".join(parts)


def test_the_page_lists_every_key(request: pytest.FixtureRequest) -> None:
    head, _, rest = PAGE.read_text().partition(BEGIN)
    shown, _, tail = rest.partition(END)
    if request.config.getoption("--update-golden"):
        PAGE.write_text(f"{head}{BEGIN}\n{everything()}\n{END}{tail}")
        return
    assert shown.strip() == everything().strip()
