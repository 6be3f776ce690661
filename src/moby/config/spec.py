"""What all models of the configuration share: the base class and the types of single values."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, TypeAlias, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from moby.config import fields
from moby.errors import ConfigError

_Value = TypeVar("_Value")


def refusal(error: ConfigError) -> PydanticCustomError:
    """``error`` in the form that pydantic collects; ``decode`` turns it back."""
    return PydanticCustomError("refused", "{what}", {"what": error.what, "fix": error.fix})


def checked(check: Callable[[_Value], object]) -> AfterValidator:
    """Keeps a value as written and refuses it when ``check`` raises ``ConfigError``."""

    def validate(value: _Value) -> _Value:
        try:
            check(value)
        except ConfigError as error:
            raise refusal(error) from error
        return value

    return AfterValidator(validate)


def _capabilities(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuses a list with all that is wrong in it at once: ``items`` are numbers, words and advice."""
    if found := [(index, each.what, each.fix) for index, each in fields.unknown_capabilities(names)]:
        raise PydanticCustomError("refused_items", "{items}", {"items": found})
    return names


def number_or(expected: str) -> BeforeValidator:
    """Lets numbers and text pass; one message for the two halves of a union."""

    def validate(value: object) -> object:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise PydanticCustomError("expected", "{expected}", {"expected": f"a number or {expected}"})
        return value

    return BeforeValidator(validate)


def suggesting(*values: str) -> WithJsonSchema:
    """The JSON Schema of a text for which an editor offers ``values``, and takes others."""
    return WithJsonSchema({"anyOf": [{"enum": list(values)}, {"type": "string"}]})


def namespace(kind: str) -> AfterValidator:
    """Checks the value of a namespace key."""
    return checked(partial(fields.namespace, kind))


def _image_or_empty(text: str) -> None:
    if text:
        fields.image_name(text)


def _mode_or_empty(text: str) -> None:
    if text:
        fields.octal(text)


Texts: TypeAlias = tuple[str, ...]
Int64 = Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)]
UInt64 = Annotated[int, Field(ge=0, lt=1 << 64)]
UInt32 = Annotated[int, Field(ge=0, lt=1 << 32)]
UInt16 = Annotated[int, Field(ge=0, lt=1 << 16)]
Id = Annotated[int | str, number_or("the name of a container")]
ImageName = Annotated[str, checked(fields.image_name)]
OptionalImageName = Annotated[str, checked(_image_or_empty)]
Capabilities = Annotated[
    tuple[Annotated[str, suggesting("all", "none", *fields.CAPABILITIES)], ...], AfterValidator(_capabilities)
]
BindText = Annotated[str, checked(fields.Bind.parse)]
TmpfsText = Annotated[str, checked(fields.Tmpfs.parse)]
LimitText = Annotated[str, checked(fields.Limit.parse)]
ModeText = Annotated[str, checked(_mode_or_empty)]


class Spec(BaseModel):
    """What all models share: strict types, no unknown keys, frozen, and YAML's spelling of the keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True, alias_generator=to_camel)
