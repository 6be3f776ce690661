from __future__ import annotations

import hashlib
import json

from hypothesis import given
from hypothesis import strategies as st

from moby.formats import spdx


def test_package_urls_as_the_specification_writes_them() -> None:
    assert spdx.purl("deb", "debian", "curl", version="7.50.3-1", arch="i386", distro="jessie") == (
        "pkg:deb/debian/curl@7.50.3-1?arch=i386&distro=jessie"
    )
    assert spdx.purl("deb", "debian", "attr", version="1:2.4.47-2+b1~a") == "pkg:deb/debian/attr@1:2.4.47-2%2Bb1~a"
    assert spdx.purl("oci", "debian", version="sha256:24", repository_url="docker.io/library/debian", tag="") == (
        "pkg:oci/debian@sha256:24?repository_url=docker.io/library/debian"
    )


@given(st.text(min_size=1))
def test_a_line_gives_its_id_and_is_json(path: str) -> None:
    line = spdx.file_line("SPDXRef-a-1", path, "0" * 40)
    assert spdx.id_of(line) == b"SPDXRef-a-1"
    assert spdx.sha1_of(line) == bytes(20)
    assert b"\n" not in line
    assert json.loads(line)["fileName"] == path


def test_names_that_are_no_text_stay_json_for_everybody() -> None:
    line = spdx.file_line("SPDXRef-a", b"caf\xe9".decode("utf-8", "surrogateescape"), "0" * 40)
    assert json.loads(line)["fileName"] == "caf\N{REPLACEMENT CHARACTER}"


def test_ids_hold_what_they_may() -> None:
    assert spdx.identifier("Package", "g++", "a_b") == "SPDXRef-Package-g--a-b"


@given(st.lists(st.binary(min_size=20, max_size=20).map(bytes.hex)))
def test_the_verification_code_is_of_the_sorted_hashes(sha1s: list[str]) -> None:
    expected = hashlib.sha1("".join(sorted(sha1s)).encode()).hexdigest() if sha1s else ""
    assert spdx.verification_code(map(bytes.fromhex, sha1s)) == expected


def test_the_namespace_has_a_fixed_length() -> None:
    named = spdx.head("x", creators=["Tool: t"], unique=spdx.unique("a" * 64))
    assert len(named) == len(spdx.head("x", creators=["Tool: t"]))
    assert json.loads(named + b"}")["documentNamespace"].startswith("https://mobyproject.org/spdx/x-")
