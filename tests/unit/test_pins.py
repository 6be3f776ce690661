"""moby.lock: what it says, what it makes of a build."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moby import log, pins
from moby.errors import ConfigError, IntegrityError, PlatformError
from moby.oci.digest import Digest
from moby.oci.image import Image
from moby.oci.manifest import ImageConfig, Platform
from moby.oci.reference import Reference
from moby.pins import Change, Pin, Pinned, Pins

AMD64, ARM64 = Platform.parse("amd64"), Platform.parse("arm64")
A1 = Reference.parse("a:1")
ROOT, AMD, ARM = (Digest.of(each) for each in (b"root", b"amd", b"arm"))
PIN = Pin.of(ROOT, {"linux/arm64/v8": ARM, "linux/amd64": AMD})
TEXT = f"""\
# Images by digest, made by `moby lock`; `moby lock --update` renews it. Keep it beside the YAML file.

docker.io/library/a:1 {ROOT}
  linux/amd64 {AMD}
  linux/arm64/v8 {ARM}

oci:./a b:x {AMD}
  linux/amd64 {AMD}
"""


class Recorder:
    """A resolver that has one image for each platform, and remembers what it was asked."""

    def __init__(self, images: dict[Platform, Digest]) -> None:
        self.images = images
        self.asked: list[str] = []

    def resolve(self, reference: Reference, platform: Platform) -> Image:
        self.asked.append(str(reference))
        config = ImageConfig()
        return Image(reference=reference, digest=self.images[platform], platform=platform, config=config, layers=())


def pinned(inner: Recorder, *, locked: bool = False, **more: Pin) -> Pinned:
    return Pinned(inner, Pins({str(A1): PIN, **more}), where="moby.lock", locked=locked)


# The file.


def test_the_text_is_sorted_and_reads_back() -> None:
    found = Pins.parse(TEXT)
    assert found.names() == ("docker.io/library/a:1", "oci:./a b:x")
    assert found.get(A1) == PIN
    assert found.render() == TEXT


NAMES = st.sampled_from(["docker.io/library/a:1", "docker.io/library/b", "ghcr.io/x/y:z", "oci:./x:1", "oci:/a b"])
DIGESTS = st.binary(max_size=4).map(Digest.of)
PLATFORMS = st.sampled_from(["linux/amd64", "linux/arm64", "linux/arm64/v8", "linux/riscv64"])
PINS = st.builds(Pin.of, DIGESTS, st.dictionaries(PLATFORMS, DIGESTS))


@settings(max_examples=100)
@given(st.dictionaries(NAMES, PINS))
def test_any_pins_survive_the_file(some: dict[str, Pin]) -> None:
    text = Pins(some).render()
    assert Pins.parse(text).render() == text
    assert {name: Pins.parse(text).get(Reference.parse(name)) for name in some} == some


@settings(max_examples=200)
@given(st.text(max_size=200))
def test_any_text_is_pins_or_a_config_error(text: str) -> None:
    try:
        Pins.parse(text)
    except ConfigError as error:
        assert error.where.startswith("moby.lock:")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a:1", "moby.lock:1: 'a:1' is not a digest"),
        (f"\na:1 {ROOT}x", "moby.lock:2: "),
        (f"  linux/amd64 {ROOT}", "moby.lock:1: a platform before any image"),
        (f"a:1 {ROOT}\n  a/b/c/d {ROOT}", "moby.lock:2: 'a/b/c/d' is not a platform"),
        (f"A:1 {ROOT}", "moby.lock:1: 'A:1' is not an image reference"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Pins.parse(text)
    assert str(caught.value).startswith(message)


def test_files_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    assert Pins.read(tmp_path / "none").absent
    with pytest.raises(ConfigError, match=r"cannot read it: Is a directory.*make it: moby lock"):
        Pins.read(tmp_path)
    (tmp_path / "bad").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not text"):
        Pins.read(tmp_path / "bad")
    with pytest.raises(PlatformError, match="cannot write it"):
        Pins().write(tmp_path / "none" / "moby.lock")
    Pins.parse(TEXT).write(tmp_path / "moby.lock")
    assert (tmp_path / "moby.lock").read_text() == TEXT
    assert [path.name for path in tmp_path.glob(".moby*")] == []


def test_changes_name_both_sides() -> None:
    other = replace(PIN, root=ARM)
    before = Pins({"docker.io/library/a:1": PIN, "docker.io/library/b:1": PIN})
    after = before.changed(
        {"docker.io/library/a:1": other, "docker.io/library/b:1": None, "docker.io/library/c:1": PIN}
    )
    assert before.changes(after) == [
        Change(reference="docker.io/library/a:1", before=PIN, after=other),
        Change(reference="docker.io/library/b:1", before=PIN, after=None),
        Change(reference="docker.io/library/c:1", before=None, after=PIN),
    ]
    assert before.changes(before) == []


@pytest.mark.parametrize(
    ("files", "path"),
    [(["x/a.yml", "y/b.yml"], "y/moby.lock"), (["x/a.yml", "-"], "x/moby.lock"), (["https://h/a.yml"], "moby.lock")],
)
def test_the_lock_is_beside_the_last_file(files: list[str], path: str) -> None:
    assert pins.beside(files) == Path(path)


# The build.


def test_a_pinned_image_is_asked_for_by_digest_and_keeps_its_name() -> None:
    inner = Recorder({AMD64: AMD, ARM64: ARM})
    found = pinned(inner).resolve(A1, AMD64)
    assert (found.reference, found.digest) == (A1, AMD)
    assert pinned(inner, locked=True).resolve(A1, ARM64).digest == ARM
    assert inner.asked == [f"{A1}@{ROOT}"] * 2


def test_another_image_than_the_pinned_one_is_refused() -> None:
    with pytest.raises(IntegrityError, match=rf"is {AMD}, found is {ARM} .renew it: moby lock --update docker.io"):
        pinned(Recorder({AMD64: ARM})).resolve(A1, AMD64)


def test_latest_and_no_tag_are_the_same_pin() -> None:
    inner = Recorder({AMD64: AMD})
    only = Pinned(inner, Pins({"docker.io/library/b:latest": PIN}), where="moby.lock", locked=True)
    assert only.resolve(Reference.parse("b"), AMD64).digest == AMD


def test_what_is_not_pinned_is_told_or_refused(capsys: pytest.CaptureFixture[str]) -> None:
    inner = Recorder({AMD64: AMD})
    log.use(log.Console())
    try:
        resolver = pinned(inner)
        assert [resolver.resolve(Reference.parse("b:1"), AMD64).digest for _ in range(2)] == [AMD, AMD]
    finally:
        log.use(log.Silent())
    assert capsys.readouterr().err.count("docker.io/library/b:1 is not pinned in moby.lock") == 1
    assert inner.asked == ["docker.io/library/b:1"] * 2
    with pytest.raises(ConfigError, match=r"not pinned in moby.lock .pin it: moby lock FILE.yml"):
        pinned(inner, locked=True).resolve(Reference.parse("b:1"), AMD64)
    with pytest.raises(ConfigError, match=r"not pinned for linux/riscv64 in moby.lock .renew it"):
        pinned(inner, locked=True).resolve(A1, Platform.parse("riscv64"))


@pytest.mark.parametrize("text", ["localhost/moby/nginx:0123", f"b:1@{ROOT}"])
def test_what_cannot_change_needs_no_pin(text: str) -> None:
    inner = Recorder({AMD64: AMD})
    assert pinned(inner, locked=True).resolve(Reference.parse(text), AMD64).digest == AMD
    assert inner.asked == [text if "/" in text else f"docker.io/library/{text}"]


def test_a_missing_lock_refuses_what_needs_a_pin_and_nothing_else() -> None:
    for locked in (True, False):
        none = Pinned(Recorder({AMD64: AMD}), Pins(absent=True), where="web.lock", locked=locked)
        with pytest.raises(ConfigError, match=r"there is no file web\.lock .pin it: moby lock FILE.yml"):
            none.resolve(A1, AMD64)
        assert none.resolve(Reference.parse(f"a@{ROOT}"), AMD64).digest == AMD
