"""The real cosign, and the vectors that it made.

python -m tests.support.cosign COSIGN_2 COSIGN_3      makes tests/golden/cosign anew
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from moby import proc
from moby.oci.digest import Digest
from moby.oci.manifest import INDEX_TYPES, MANIFEST_TYPES, OCI_INDEX, OCI_MANIFEST, Descriptor, Index
from moby.oci.pem import PublicKey, public_keys
from tests.support.docker_registry import docker_registry
from tests.support.images import MadeImage, image, index
from tests.support.registry import FakeRegistry

FOLDER = Path(__file__).parents[1] / "golden" / "cosign"
PASSWORD = "test"
_ACCEPT = {"Accept": ", ".join((*INDEX_TYPES, *MANIFEST_TYPES))}
_LOCAL = ("--tlog-upload=false", "--allow-http-registry", "-y")
_NEW = ("--use-signing-config=false", *_LOCAL)
_OFFLINE = ("--insecure-ignore-tlog", "--allow-http-registry")


@dataclass(frozen=True, kw_only=True)
class Document:
    """A manifest with its blobs, as a registry had them."""

    media_type: str
    data: bytes
    blobs: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True)
class Vector:
    """What one call of cosign left in a registry. ``tag`` names a document; ``referrers`` are those with a subject."""

    key: PublicKey
    image: bytes
    image_type: str
    tag: str = ""
    tagged: Document | None = None
    referrers: tuple[Document, ...] = ()

    @property
    def digest(self) -> Digest:
        return Digest.of(self.image)


def key(name: str) -> PublicKey:
    """A public key of the vectors."""
    return public_keys((FOLDER / f"{name}.pub").read_text(), name=f"{name}.pub")[0]


def vector(name: str) -> Vector:
    """A vector by its name in ``vectors.json``."""
    made = json.loads((FOLDER / "vectors.json").read_text())
    one = made["signatures"][name]
    subject = made["images"][one["image"]]
    tagged = one.get("tagged")
    return Vector(
        key=key(one["key"]),
        image=subject["data"].encode(),
        image_type=subject["mediaType"],
        tag=one.get("tag", ""),
        tagged=_document(tagged) if tagged else None,
        referrers=tuple(map(_document, one.get("referrers", ()))),
    )


def _document(stored: dict[str, object]) -> Document:
    blobs = stored["blobs"]
    assert isinstance(blobs, list)
    return Document(
        media_type=str(stored["mediaType"]),
        data=str(stored["data"]).encode(),
        blobs=tuple(str(each).encode() for each in blobs),
    )


def publish(fake: FakeRegistry, made: Vector, repository: str = "x") -> None:
    """Put the signed image and its signatures into a registry without a referrers API."""
    images = subjects()
    if made.image_type == OCI_INDEX:
        assert fake.put(repository, "1", images) == made.digest
    else:
        assert fake.put(repository, "1", images[0]) == made.digest
    for document in (*made.referrers, *([made.tagged] if made.tagged else [])):
        _lay(fake, repository, document)
    if made.tagged:
        fake.put_manifest(repository, made.tag, made.tagged.media_type, made.tagged.data)
    elif made.referrers:
        entries = tuple(
            Descriptor(media_type=each.media_type, digest=Digest.of(each.data), size=len(each.data))
            for each in made.referrers
        )
        tag = f"sha256-{made.digest.hex}"
        fake.put_manifest(repository, tag, OCI_INDEX, Index(manifests=entries).encode())


def _lay(fake: FakeRegistry, repository: str, document: Document) -> Digest:
    fake.blobs |= {str(Digest.of(each)): each for each in document.blobs}
    digest = Digest.of(document.data)
    return fake.put_manifest(repository, str(digest), document.media_type, document.data)


class Cosign:
    """The program, with keys that it finds in ``FOLDER``."""

    def __init__(self, program: Path | str) -> None:
        self._program = str(program)

    def run(self, *words: str | Path) -> str:
        """Run it; raises ``CommandError`` when it refuses."""
        environment = {**os.environ, "COSIGN_PASSWORD": PASSWORD}
        return proc.run([self._program, *words], env=environment, timeout_s=60).decode()

    def sign(self, reference: str, name: str, *options: str, bundle: bool = False) -> None:
        """Sign an image with ``NAME.key``, as a bundle only where this is cosign 3."""
        self.run("sign", "--key", FOLDER / f"{name}.key", *(_NEW if bundle else _LOCAL), *options, reference)

    def verify(self, reference: str, name: str) -> None:
        """Verify an image with ``NAME.pub``."""
        self.run("verify", "--key", FOLDER / f"{name}.pub", *_OFFLINE, reference)


class Scratch:
    """A docker-registry that is looked into and filled by hand."""

    def __init__(self, host: str, client: httpx.Client) -> None:
        self.host, self._client = host, client

    def push(self, repository: str, made: MadeImage) -> str:
        """Put an image there and give its name, by digest."""
        for digest, data in made.blobs.items():
            self._blob(repository, digest, data)
        return self._named(repository, made.manifest, OCI_MANIFEST)

    def push_index(self, repository: str, images: list[MadeImage]) -> str:
        """Put an index of several there and give its name, by digest."""
        for each in images:
            self.push(repository, each)
        return self._named(repository, index(images)[0], OCI_INDEX)

    def _blob(self, repository: str, digest: Digest, data: bytes) -> None:
        place = self._client.post(f"/v2/{repository}/blobs/uploads/").headers["location"]
        joint = "&" if "?" in place else "?"
        assert self._client.put(f"{place}{joint}digest={digest}", content=data).status_code == 201

    def _named(self, repository: str, data: bytes, media_type: str) -> str:
        digest = Digest.of(data)
        url = f"/v2/{repository}/manifests/{digest}"
        assert self._client.put(url, content=data, headers={"Content-Type": media_type}).status_code == 201
        self._client.put(f"/v2/{repository}/manifests/1", content=data, headers={"Content-Type": media_type})
        return f"{self.host}/{repository}@{digest}"

    def document(self, repository: str, name: str) -> dict[str, object]:
        """What a tag or digest names, as text, with the blobs that a manifest names."""
        answer = self._client.get(f"/v2/{repository}/manifests/{name}").raise_for_status()
        content = answer.json()
        named = [content["config"], *content["layers"]] if "config" in content else []
        blobs = [self._client.get(f"/v2/{repository}/blobs/{each['digest']}").text for each in named]
        return {"mediaType": answer.headers["content-type"], "data": answer.text, "blobs": blobs}

    def signatures(self, repository: str) -> dict[str, object]:
        """What cosign left beside the image: under its tag, or under the tag of the referrers."""
        tags = self._client.get(f"/v2/{repository}/tags/list").json()["tags"]
        (tag,) = (each for each in tags if each.startswith("sha256-"))
        found = self.document(repository, tag)
        if tag.endswith(".sig"):
            return {"tag": tag, "tagged": found}
        children = json.loads(str(found["data"]))["manifests"]
        return {
            "tag": tag,
            "tagged": found,
            "referrers": [self.document(repository, each["digest"]) for each in children],
        }


@contextmanager
def scratch() -> Iterator[Scratch]:
    """A registry for as long as the block runs."""
    with (
        tempfile.TemporaryDirectory() as folder,
        docker_registry(Path(folder)) as host,
        httpx.Client(base_url=f"http://{host}", headers=_ACCEPT) as client,
    ):
        yield Scratch(host, client)


def subjects() -> list[MadeImage]:
    """The images that are signed, for two platforms; their bytes hang on no compressor."""
    layer = {"etc/hostname": "signed\n"}
    platforms = ("amd64", "arm64")
    return [image([layer], {"Cmd": ["/bin/true"]}, architecture=each, compression="none") for each in platforms]


def make(cosign2: Cosign, cosign3: Cosign) -> None:
    """Write the vectors: keys that are missing, then ``vectors.json``."""
    made = subjects()
    signatures: dict[str, object] = {}
    with scratch() as registry:
        name = registry.push_index("simple", made)
        cosign2.sign(name, "cosign")
        cosign2.sign(name, "cosign", "-a", "release=1")
        signatures["simple"] = {"key": "cosign", "image": "index", **registry.signatures("simple")}
        cosign3.sign(registry.push_index("bundle", made), "cosign", bundle=True)
        signatures["bundle"] = {"key": "cosign", "image": "index", **registry.signatures("bundle")}
        for kind in ("rsa", "p384", "ed25519"):
            cosign2.sign(registry.push(f"simple-{kind}", made[0]), kind)
            signatures[f"simple-{kind}"] = {"key": kind, "image": "amd64", **registry.signatures(f"simple-{kind}")}
        for kind in ("rsa", "p384"):
            cosign3.sign(registry.push(f"bundle-{kind}", made[0]), kind, bundle=True)
            signatures[f"bundle-{kind}"] = {"key": kind, "image": "amd64", **registry.signatures(f"bundle-{kind}")}
        signatures["attestation"] = {"key": "cosign", "image": "amd64", **_attested(cosign3, registry, made[0])}
    signatures["blob"] = {"key": "cosign", "image": "amd64", "referrers": [_blob_signed(cosign3, made[0])]}
    images = {
        "index": {"mediaType": OCI_INDEX, "data": index(made)[0].decode()},
        "amd64": {"mediaType": OCI_MANIFEST, "data": made[0].manifest.decode()},
    }
    text = json.dumps({"images": images, "signatures": signatures}, indent=1, ensure_ascii=False)
    (FOLDER / "vectors.json").write_text(text + "\n")


def _attested(cosign: Cosign, registry: Scratch, made: MadeImage) -> dict[str, object]:
    """What an attestation leaves: a bundle that is no signature of the image."""
    name = registry.push("attestation", made)
    with tempfile.TemporaryDirectory() as folder:
        predicate = Path(folder, "predicate.json")
        predicate.write_text('{"tested": "no"}')
        cosign.run("attest", "--key", FOLDER / "cosign.key", *_NEW, "--predicate", predicate, name)
    return registry.signatures("attestation")


def _blob_signed(cosign: Cosign, made: MadeImage) -> dict[str, object]:
    """A signature over the manifest as a file, in a bundle, in a manifest of ours as a registry would hold it."""
    with tempfile.TemporaryDirectory() as folder:
        manifest, bundle = Path(folder, "manifest.json"), Path(folder, "bundle.json")
        manifest.write_bytes(made.manifest)
        words = ("--key", FOLDER / "cosign.key", "--use-signing-config=false", "--tlog-upload=false", "-y")
        cosign.run("sign-blob", *words, "--bundle", bundle, manifest)
        data = bundle.read_text()
    layer = {"mediaType": json.loads(data)["mediaType"], "size": len(data), "digest": str(Digest.of(data.encode()))}
    empty = {"mediaType": "application/vnd.oci.empty.v1+json", "size": 2, "digest": str(Digest.of(b"{}"))}
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": layer["mediaType"],
        "config": empty,
        "layers": [layer],
        "subject": made.descriptor.changed(platform=None).wire(),
    }
    return {"mediaType": OCI_MANIFEST, "data": json.dumps(document, separators=(",", ":")), "blobs": ["{}", data]}


if __name__ == "__main__":
    make(*map(Cosign, sys.argv[1:]))
