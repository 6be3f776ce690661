"""Plain values → models, and pydantic's errors → faults a person can mend."""

from __future__ import annotations

import typing
from typing import TypeVar

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from moby.config.container import ImageLabel
from moby.config.places import Fault, Path, Places
from moby.config.source import NULL, Document, read
from moby.config.spec import Spec
from moby.config.suggest import closest
from moby.errors import ConfigError

if typing.TYPE_CHECKING:
    from pydantic_core import ErrorDetails

LABEL = "org.mobyproject.config"

_Model = TypeVar("_Model", bound=Spec)

# pydantic's error types, and what it wanted.
_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
# How each kind is written, where no better guess can be made.
_SHAPES = {
    "string_type": "write one text",
    "int_type": "write a whole number such as 10",
    "bool_type": "write true or false",
    "tuple_type": "begin each item with '- '",
    "dict_type": "write KEY: VALUE",
    "model_type": "write KEY: VALUE",
    "model_attributes_type": "write KEY: VALUE",
    "expected": "write one of the two",
}
_BOUNDS = ("greater_than_equal", "greater_than", "less_than", "less_than_equal")
# Keys of March 2017, when they are found in a file of today.
FORMER_KEYS = {"read_only": "readonly", "network_mode": "net", "oom_score_adj": "oomScoreAdj"}
_YES = {"yes": "true", "on": "true", "y": "true", "true": "true", "1": "true"}
_NO = {"no": "false", "off": "false", "n": "false", "false": "false", "0": "false"}


def decode(model: type[_Model], document: Document) -> tuple[_Model | None, list[Fault]]:
    """The model that ``document`` spells, and everything wrong with it; no model when pydantic refused it."""
    try:
        return model.model_validate(document.data), list(document.faults)
    except ValidationError as error:
        details = error.errors(include_url=False)
        return None, [*document.faults, *(_fault(model, document.places, each) for each in details)]


def label(text: str, *, image: str) -> ImageLabel | None:
    """The settings in an image's ``org.mobyproject.config`` label; None when it is empty.

    ``image`` names the image in messages. Raises ``ConfigError`` that carries everything wrong with the label.
    """
    if not text.strip():
        return None
    document = read(text, file=f"image {image}, label {LABEL}")
    if not isinstance(document.data, dict):
        fix = "the label holds the keys of a service, as JSON or YAML"
        raise ConfigError(f"the label is {describe(document.data)}, not a mapping", where=document.places.file, fix=fix)
    found, faults = decode(ImageLabel, document)
    if faults or found is None:
        raise ConfigError.gather(document.places.errors(faults))
    return found


def _fault(model: type[Spec], places: Places, error: ErrorDetails) -> Fault:
    path: Path = error["loc"]
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(model, path)
    if kind == "missing":
        return Fault(path=path[:-1], what=f"missing key {path[-1]!r}", fix=f"add {path[-1]}: …")
    if kind == "refused":
        return Fault(path=path, what=context["what"], fix=context["fix"])
    if kind == "literal_error":
        return _closed_set(path, value, context["expected"])
    if kind in _BOUNDS:
        return Fault(path=path, what=f"{value} is out of range", fix=error["msg"].replace("Input should", "it must"))
    expected = context["expected"] if kind == "expected" else _EXPECTED.get(kind, error["msg"])
    written = places.written.get(path)
    return Fault(path=path, what=f"expected {expected}, got {describe(value, written)}", fix=_fix(kind, value, written))


def describe(value: object, written: str | None = None) -> str:
    """A value, for "expected …, got …"; ``written`` is how the file spells it."""
    if value is NULL:
        return "nothing (null)"
    if isinstance(value, str):
        return f"the text {value[:60]!r}"
    if isinstance(value, bool):
        return written or str(value).lower()
    if isinstance(value, int | float):
        return f"the number {written or value}"
    return "a list" if isinstance(value, tuple) else "a mapping"


def _fix(kind: str, value: object, written: str | None) -> str:
    if value is NULL:
        return "give a value, or remove the key"
    if kind == "string_type" and written is not None:
        return f'quote it: "{written}"'
    if kind == "int_type" and isinstance(value, str) and value.strip().isdecimal():
        return f"remove the quotes: {value.strip()}"
    if kind == "bool_type" and written is not None:
        guess = {**_YES, **_NO}.get(written.lower())
        return f"write {guess}" if guess else ""
    if kind == "tuple_type" and written is not None:
        return f"write it as a list: [{written[:60]}]"
    return _SHAPES.get(kind, "")


def _closed_set(path: Path, value: object, expected: str) -> Fault:
    names = [name for name in expected.replace(" or ", ", ").replace("'", "").split(", ") if name]
    guess = closest(value, names) if isinstance(value, str) else None
    fix = f"did you mean {guess!r}?" if guess else f"write {' or '.join(names)}"
    return Fault(path=path, what=f"expected {' or '.join(names)}, got {describe(value)}", fix=fix)


def _unknown_key(model: type[Spec], path: Path) -> Fault:
    holder, key = _model_at(model, path[:-1]), str(path[-1])
    known = keys(holder)
    fix = f"the keys known here are {', '.join(known)}" if len(known) <= 12 else "docs/yaml.md lists the keys"
    if home := _home(key, holder, model):
        fix = f"it is a key of {home}"
    if guess := closest(key, known):
        fix = f"did you mean {guess!r}?"
    elif FORMER_KEYS.get(key) in known:
        fix = f"it is called {FORMER_KEYS[key]} now"
    if key in ("name", "image") and holder is ImageLabel:
        fix = "a label cannot set it"
    return Fault(path=path, what=f"unknown key {key[:60]!r}", fix=fix, at_key=True)


def keys(model: type[Spec]) -> dict[str, type[Spec] | None]:
    """The keys of a model as YAML spells them, each with the model of the mappings below it."""
    return {field.alias or to_camel(name): _inner(field.annotation) for name, field in model.model_fields.items()}


def _home(key: str, *holders: type[Spec]) -> str | None:
    """The key below which ``key`` belongs."""
    inner = ((name, model) for holder in holders for name, model in keys(holder).items() if model)
    return next((name for name, model in inner if key in keys(model)), None)


def _model_at(model: type[Spec], path: Path) -> type[Spec]:
    """The model that describes the mapping at ``path``."""
    for part in path:
        if isinstance(part, str):
            model = keys(model)[part] or model
    return model


def _inner(annotation: object) -> type[Spec] | None:
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return annotation
    found = (_inner(each) for each in typing.get_args(annotation))
    return next((each for each in found if each), None)
