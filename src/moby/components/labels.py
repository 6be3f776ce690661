"""The labels of component images."""

from __future__ import annotations

from moby.components.recipe import Recipe
from moby.config.decode import LABEL

COMPILER = "org.mobyproject.moby.compiler"
INITRD = "org.mobyproject.moby.initrd"
_DESCRIPTION = "org.opencontainers.image.description"
_SOURCE = "org.opencontainers.image.source"


def of(recipe: Recipe) -> dict[str, str]:
    """What ``recipe`` says about its image; labels it names itself win over derived ones."""
    spec = recipe.spec
    derived = {
        LABEL: recipe.config_label,
        COMPILER: recipe.compiler,
        INITRD: ",".join(spec.kernel.initrd) if spec.kernel is not None else "",
        _DESCRIPTION: spec.description,
        _SOURCE: spec.gitrepo,
    }
    return {**{key: value for key, value in derived.items() if value}, **(spec.labels or {})}
