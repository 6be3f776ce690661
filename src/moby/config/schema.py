"""The models as JSON Schema, for editors and other tools.

It says what the models say: keys, types, ranges. What takes more than one value to judge, such as names that clash, is
``moby validate``'s to find.
"""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from moby.config.model import Config

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Generator(GenerateJsonSchema):
    """No ``null`` and no defaults that stand for "not given", since YAML may spell neither."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> dict[str, Any]:
        """What may stand there instead of ``null``."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> dict[str, Any]:
        """The value's own schema; only a switch has a default worth showing."""
        inner = self.generate_inner(schema["schema"])
        return {**inner, "default": schema["default"]} if isinstance(schema.get("default"), bool) else inner

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Keys are titles enough."""
        return False


def json_schema() -> dict[str, Any]:
    """The language of today as a JSON Schema, draft 2020-12."""
    schema = Config.model_json_schema(schema_generator=_Generator)
    return {"$schema": DIALECT, **schema, "title": "Moby configuration"}
