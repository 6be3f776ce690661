"""The tables in docs/components.md are those of the models."""

from __future__ import annotations

from pathlib import Path

import pytest

from moby.components.model import RecipeSpec
from moby.config.container import ImageLabel
from moby.config.decode import keys
from moby.config.spec import Spec
from tests.support.tables import table

PAGE = Path(__file__).parents[3] / "docs" / "components.md"
BEGIN, END = "<!-- keys -->\n", "<!-- end -->\n"
ELSEWHERE: dict[type[Spec], str] = {ImageLabel: "the keys of a service"}


def everything() -> str:
    inner = dict.fromkeys(each for each in keys(RecipeSpec).values() if each is not None and each is not ImageLabel)
    parts = [table(RecipeSpec, defaults=True, named=ELSEWHERE)]
    for model in inner:
        head = f"### {model.__name__}\n\n{(model.__doc__ or '').splitlines()[0]}"
        parts.append(f"{head}\n\n{table(model, defaults=True, named=ELSEWHERE)}")
    return "\n".join(parts)


def test_the_page_lists_every_key(request: pytest.FixtureRequest) -> None:
    head, _, rest = PAGE.read_text().partition(BEGIN)
    shown, _, tail = rest.partition(END)
    if request.config.getoption("--update-golden"):
        PAGE.write_text(f"{head}{BEGIN}\n{everything()}\n{END}{tail}")
        return
    assert shown.strip() == everything().strip()
