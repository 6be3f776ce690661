"""Plans without a store: a resolver of images that are nothing but a configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from moby.config.load import parse
from moby.errors import RegistryError
from moby.oci.digest import Digest
from moby.oci.image import Image
from moby.oci.manifest import ImageConfig, Platform
from moby.oci.reference import Reference
from moby.plan import Plan, plan
from tests.support.images import VECTORS


@dataclass
class Shelf:
    """A resolver that has the images it is given, by reference as written; records what it was asked for."""

    images: Mapping[str, ImageConfig] = field(default_factory=dict)
    everything: bool = True
    asked: list[tuple[str, str]] = field(default_factory=list)

    def resolve(self, reference: Reference, platform: Platform) -> Image:
        self.asked.append((str(reference), str(platform)))
        known = {Reference.parse(name): config for name, config in self.images.items()}
        if reference not in known and not self.everything:
            raise RegistryError(f"image {reference} not found", fix="check the name")
        config = known.get(reference, ImageConfig())
        digest = Digest.of(f"{reference} {platform}".encode())
        return Image(reference=reference, digest=digest, platform=platform, config=config, layers=())


def labelled(label: str, **settings: object) -> ImageConfig:
    """An image configuration with a settings label."""
    return ImageConfig(labels={"org.mobyproject.config": label}, **settings)  # type: ignore[arg-type]


def planned(text: str, images: Mapping[str, ImageConfig] | None = None, *, architecture: str = "amd64") -> Plan:
    """The plan of a YAML text."""
    return plan(parse(text), Shelf(images or {}), architecture=architecture)


def spec(text: str, image: ImageConfig | None = None) -> dict[str, object]:
    """The config.json of a service ``s`` on the image ``x``; ``text`` are the keys of its entry, in flow style."""
    made = planned(f"services: [{{name: s, image: x, {text}}}]", {"x": image or ImageConfig()})
    decoded: dict[str, object] = json.loads(made.containers[0].config_json)
    return decoded


def vector_shelf() -> Shelf:
    """The images of the vectors."""
    described = json.loads((VECTORS / "images.json").read_text())
    configs = {
        f"127.0.0.1:5000/{name}": ImageConfig.decode(json.dumps(each["config"]).encode())
        for name, each in described.items()
    }
    return Shelf(configs, everything=False)
