"""The rules of layers, written as slowly and plainly as possible: a dictionary changed entry by entry."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.flat import flat
from tests.support.images import Node, directory

from moby.errors import IntegrityError
from moby.oci.store import Store

_names = st.sampled_from(["a", "b", "c"])
_paths = st.lists(_names, min_size=1, max_size=3).map("/".join)
_content = st.one_of(
    st.sampled_from(["1", "2"]),
    st.just(directory()),
    st.just(directory(0o700)),
)


@st.composite
def _whiteouts(draw: st.DrawFn) -> tuple[str, str]:
    above = draw(st.lists(_names, max_size=2))
    return "/".join([*above, draw(st.sampled_from([".wh.a", ".wh.b", ".wh..wh..opq"]))]), ""


_layers = st.lists(st.lists(st.tuples(_paths, _content) | _whiteouts(), max_size=6), min_size=1, max_size=4)


class Model:
    """Layers applied one by one to a dictionary from path to (layer, what it is)."""

    def __init__(self) -> None:
        self.tree: dict[str, tuple[int, str | bytes]] = {}

    def apply(self, number: int, layer: Sequence[tuple[str, str | Node]]) -> bool:
        """False when the layer is one that must be refused."""
        for path, content in layer:
            above, _, name = path.rpartition("/")
            if name == ".wh..wh..opq":
                self._drop(number, f"{above}/" if above else "")
            elif name.startswith(".wh."):
                hidden = path.replace(".wh.", "")
                self._drop(number, f"{hidden}/")
                self._drop_one(number, hidden)
            elif not self._put(number, path, content):
                return False
        return True

    def _drop(self, number: int, prefix: str) -> None:
        for path in sorted((path for path in self.tree if path.startswith(prefix)), reverse=True):
            self._drop_one(number, path)

    def _drop_one(self, number: int, path: str) -> None:
        found = self.tree.get(path)
        if found is None or found[0] == number:
            return
        if any(other.startswith(f"{path}/") for other in self.tree):
            self.tree[path] = (number, "755")
        else:
            del self.tree[path]

    def _put(self, number: int, path: str, content: str | Node) -> bool:
        parts = path.split("/")
        for end in range(1, len(parts)):
            above = "/".join(parts[:end])
            if above not in self.tree:
                self.tree[above] = (number, "755")
            elif isinstance(self.tree[above][1], bytes):
                return False
        if isinstance(content, str):
            for other in [each for each in self.tree if each.startswith(f"{path}/")]:
                del self.tree[other]
        self.tree[path] = (number, content.encode() if isinstance(content, str) else f"{content.mode:o}")
        return True


@settings(max_examples=150, deadline=None)
@given(_layers)
def test_any_layers_give_what_applying_them_one_by_one_gives(
    tmp_path_factory: pytest.TempPathFactory, stack: list[list[tuple[str, str | Node]]]
) -> None:
    store, model = Store(tmp_path_factory.mktemp("store")), Model()
    fine = all(model.apply(number, layer) for number, layer in enumerate(stack))
    if not fine:
        with pytest.raises(IntegrityError, match="not a directory"):
            flat(store, *stack)
        return
    assert flat(store, *stack) == {path: content for path, (_, content) in model.tree.items()}
