"""Plain values → models, and pydantic's errors → faults a person can mend."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import TypeVar

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from moby.config import hints
from moby.config.container import ImageLabel
from moby.config.places import Fault, Path, Places, join
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
_BOUNDS = ("greater_than_equal", "greater_than", "less_than", "less_than_equal")
_CURLY = ("\u201c", "\u201d", "\u2018", "\u2019", "\u201e")
# Keys of March 2017, when they are found in a file of today.
FORMER_KEYS = {"read_only": "readonly", "network_mode": "net", "oom_score_adj": "oomScoreAdj"}


def decode(model: type[_Model], document: Document) -> tuple[_Model | None, list[Fault]]:
    """The model that ``document`` spells, and everything wrong with it; no model when pydantic refused it."""
    try:
        return model.model_validate(document.data), list(document.faults)
    except ValidationError as error:
        details = error.errors(include_url=False)
        found = [fault for each in details for fault in _faults(model, document.places, each)]
        return None, [*document.faults, *_causes(model, found)]


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


def _causes(model: type[Spec], found: list[Fault]) -> Iterator[Fault]:
    """``found`` without the keys that are missing only because they are misspelt."""
    misspelt = {
        (*each.path[:-1], closest(str(each.path[-1]), keys(_model_at(model, each.path[:-1]))))
        for each in found
        if each.at_key
    }
    return (each for each in found if each.missing is None or (*each.path, each.missing) not in misspelt)


def _faults(model: type[Spec], places: Places, error: ErrorDetails) -> Iterator[Fault]:
    if error["type"] == "refused_items":
        for index, what, fix in error["ctx"]["items"]:
            yield Fault(path=(*error["loc"], index), what=what, fix=fix)
    else:
        yield _fault(model, places, error)


def _fault(model: type[Spec], places: Places, error: ErrorDetails) -> Fault:
    path: Path = error["loc"]
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(model, path)
    if kind == "missing":
        return Fault(path=path[:-1], what=f"missing key {path[-1]!r}", fix=f"add {path[-1]}: …", missing=str(path[-1]))
    if kind == "refused":
        curly = isinstance(value, str) and value[:1] in _CURLY
        fix = "use the straight quotes \" or '" if curly else context["fix"]
        if isinstance(value, str) and value.startswith("-") and path[:1] == ("init",):
            fix = "put a space after each '-' of the list"
        return Fault(path=path, what=context["what"], fix=fix)
    if kind == "literal_error":
        return _closed_set(path, value, context["expected"])
    if kind in _BOUNDS:
        return Fault(path=path, what=f"{value} is out of range", fix=error["msg"].replace("Input should", "it must"))
    expected = context["expected"] if kind == "expected" else _EXPECTED.get(kind, error["msg"])
    written = places.written.get(path)
    fix = hints.mend(kind, path, value, places.written, keys(_model_at(model, path)))
    return Fault(path=path, what=f"expected {expected}, got {describe(value, written)}", fix=fix)


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
    if above := _above(key, path, model):
        fix = f"it is a key of {above}: indent it less"
    if foreign := hints.foreign(key, in_container=issubclass(holder, ImageLabel)):
        return Fault(path=path, what=f"unknown key {key[:60]!r}", fix=foreign, at_key=True)
    if guess := closest(key, known):
        fix = f"did you mean {guess!r}?"
    elif FORMER_KEYS.get(key) in known:
        fix = f"it is called {FORMER_KEYS[key]} now"
    if "\xa0" in key:
        fix = "replace the no-break spaces (U+00A0) of this line by plain ones"
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


def _above(key: str, path: Path, model: type[Spec]) -> str | None:
    """What holds the mapping that ``key`` was indented too far in."""
    for count in range(len(path) - 2, -1, -1):
        holder = _model_at(model, path[:count])
        if holder is not _model_at(model, path[:-1]) and key in keys(holder):
            return join(path[:count]) or "the file itself"
    return None


def _model_at(model: type[Spec], path: Path) -> type[Spec]:
    """The model that describes the mapping at ``path``."""
    for part in path:
        if isinstance(part, str):
            model = keys(model).get(part) or model
    return model


def _inner(annotation: object) -> type[Spec] | None:
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return annotation
    found = (_inner(each) for each in typing.get_args(annotation))
    return next((each for each in found if each), None)
