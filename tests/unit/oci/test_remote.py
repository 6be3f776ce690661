"""What refers to a digest: the API, and the tag that stands in for it."""

from __future__ import annotations

import json

import httpx
import pytest

from moby.errors import IntegrityError, RegistryError
from moby.oci.digest import Digest
from moby.oci.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor, Index, Manifest
from moby.oci.reference import Reference
from moby.oci.registry import Registry
from moby.oci.remote import Remote, referrers_tag
from tests.support.images import MadeImage, image
from tests.support.registry import Answer, FakeRegistry, Request, always


def remote(client: httpx.Client, fake: FakeRegistry) -> Remote:
    registry = Registry(lambda: client, sleep=lambda seconds: None)
    return registry.origin(Reference.parse(f"{fake.host}/x"))


def signature(subject: Descriptor, kind: str) -> tuple[bytes, Descriptor]:
    config = Descriptor(media_type="application/vnd.oci.empty.v1+json", digest=Digest.of(b"{}"), size=2)
    data = Manifest(config=config, subject=subject, artifact_type=kind).encode()
    return data, Descriptor(media_type=OCI_MANIFEST, digest=Digest.of(data), size=len(data), artifact_type=kind)


@pytest.fixture
def made() -> MadeImage:
    return image([{"a": "1"}])


@pytest.mark.shows("Referrers of a digest by the API of registries", by="fake")
def test_referrers_by_the_api(client: httpx.Client, made: MadeImage) -> None:
    with FakeRegistry(referrers=True) as fake:
        fake.put("x", "1", made)
        one, two = (signature(made.descriptor, kind) for kind in ("sig", "sbom"))
        for data, descriptor in (one, two):
            fake.put_manifest("x", str(descriptor.digest), OCI_MANIFEST, data)
        there = remote(client, fake)
        assert {each.digest for each in there.referrers(made.descriptor.digest)} == {one[1].digest, two[1].digest}
        assert [each.digest for each in there.referrers(made.descriptor.digest, artifact_type="sig")] == [one[1].digest]
        assert there.referrers(Digest.of(b"other")) == ()


def test_referrers_by_the_tag_where_there_is_no_api(client: httpx.Client, fake: FakeRegistry, made: MadeImage) -> None:
    there = remote(client, fake)
    assert there.referrers(made.descriptor.digest) == ()
    (_, one), (_, two) = (signature(made.descriptor, kind) for kind in ("sig", "sbom"))
    fake.put_manifest("x", referrers_tag(made.descriptor.digest), OCI_INDEX, Index(manifests=(one, two)).encode())
    assert there.referrers(made.descriptor.digest, artifact_type="sbom") == (two,)


def test_referrers_come_in_pages_but_not_without_end(client: httpx.Client, fake: FakeRegistry, made: MadeImage) -> None:
    (_, one), (_, two) = (signature(made.descriptor, kind) for kind in ("sig", "sbom"))

    def pages(request: Request) -> Answer | None:
        if "/referrers/" not in request.path:
            return None
        last = request.query.get("last") == "1"
        headers = {"Content-Type": OCI_INDEX} | ({} if last else {"Link": f'<{request.path}?last=1>; rel="next"'})
        return Answer(headers=headers, body=Index(manifests=(two if last else one,)).encode())

    fake.rules.append(pages)
    assert remote(client, fake).referrers(made.descriptor.digest) == (one, two)
    loop = {"Content-Type": OCI_INDEX, "Link": '</v2/x/referrers/again>; rel="next"'}
    fake.rules[:] = [always(lambda request: "/referrers/" in request.path, Answer(headers=loop, body=Index().encode()))]
    with pytest.raises(RegistryError, match="more than 20 pages"):
        remote(client, fake).referrers(made.descriptor.digest)


def test_a_failing_registry_is_not_one_without_referrers(client: httpx.Client, fake: FakeRegistry) -> None:
    fake.rules.append(always(lambda request: "/referrers/" in request.path, Answer(status=500)))
    with pytest.raises(RegistryError, match="status 500"):
        remote(client, fake).referrers(Digest.of(b""))


def test_what_a_tag_means_is_asked_without_its_document(
    client: httpx.Client, fake: FakeRegistry, made: MadeImage
) -> None:
    digest = fake.put("x", "1", made)
    there = remote(client, fake)
    assert there.digest("1") == digest
    assert there.digest("2") is None
    assert there.found("2") is None
    assert [each.method for each in fake.asked("/manifests/1")] == ["HEAD"]
    fake.rules.append(always(lambda request: request.method == "HEAD", Answer()))
    assert there.digest("1") == digest


def test_a_small_blob_is_checked(client: httpx.Client, fake: FakeRegistry, made: MadeImage) -> None:
    fake.put("x", "1", made)
    descriptor = Descriptor.read(json.loads(made.manifest)["config"])
    there = remote(client, fake)
    assert there.blob(descriptor, 1 << 20) == made.config
    with pytest.raises(IntegrityError, match="are allowed"):
        there.blob(descriptor, 10)
    fake.blobs[str(descriptor.digest)] = made.config[:-1] + b" "
    with pytest.raises(IntegrityError, match="does not match its digest"):
        there.blob(descriptor, 1 << 20)
