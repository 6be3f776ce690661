from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moby import proc
from moby.errors import ConfigError, IntegrityError
from moby.formats import pe, uki
from moby.formats.content import Content
from tests.support import efi

SECTIONS = {
    ".linux": b"kernel" * 1000,
    ".initrd": b"\x5a" * 12_345,
    ".cmdline": b"console=ttyS0 quiet",
    ".osrel": b'ID=moby\nNAME="Moby"\n',
    ".uname": b"6.12.1",
}


def written(sections: dict[str, bytes], stub: bytes = efi.stub()) -> bytes:
    out = io.BytesIO()
    size = uki.write(stub, {name: Content.of(data) for name, data in sections.items()}, out)
    assert size == len(out.getvalue())
    return out.getvalue()


def contents(data: bytes) -> dict[str, bytes]:
    stream = io.BytesIO(data)
    return {each.name: pe.content(stream, each, limit=1 << 20) for each in pe.read(stream).sections}


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(uki.SECTIONS), st.binary(min_size=1, max_size=5000)))
def test_what_is_written_is_read_back(sections: dict[str, bytes]) -> None:
    sections = {".linux": b"kernel"} | sections
    found = contents(written(sections))
    assert {name: found[name] for name in sections} == sections
    assert found[".text"] == contents(efi.stub())[".text"]
    assert list(found)[-1] == ".linux"


def test_sections_do_not_overlap_and_are_aligned() -> None:
    image = pe.read(io.BytesIO(written(SECTIONS)))
    for one, other in zip(image.sections, image.sections[1:], strict=False):
        assert other.address >= one.address + one.virtual_size and other.address % efi.ALIGNMENT == 0
        assert other.offset == one.offset + one.size and other.offset % efi.FILE_ALIGNMENT == 0
    assert image.body_end == image.file_size


@pytest.mark.shows("objdump reads the sections of unified kernel images", by="peer")
def test_objdump_reads_the_image(tmp_path: Path) -> None:
    path = tmp_path / "uki.efi"
    path.write_bytes(written(SECTIONS))
    listing = proc.run(["objdump", "-s", "-j", ".cmdline", str(path)]).decode()
    assert "console=ttyS0" in listing.replace("\n", "")
    names = [
        row.split()[1]
        for row in proc.run(["objdump", "-h", str(path)]).decode().splitlines()
        if row[:3].strip().isdigit()
    ]
    assert names == [".text", ".sbat", ".sdmagic", ".osrel", ".cmdline", ".uname", ".initrd", ".linux"]


def test_header_fields_cover_the_new_sections() -> None:
    data = written(SECTIONS)
    image = pe.read(io.BytesIO(data))
    last = image.sections[-1]
    (size_of_image,) = struct.unpack_from("<I", data, image.optional_at + 56)
    assert size_of_image % efi.ALIGNMENT == 0
    assert 0 <= size_of_image - last.address - last.virtual_size < efi.ALIGNMENT
    assert struct.unpack_from("<I", data, image.checksum_at) == (0,)


def test_every_machine_keeps_its_own() -> None:
    for machine in pe.Machine:
        image = pe.read(io.BytesIO(written(SECTIONS, efi.stub(machine=machine, room=0x5000))))
        assert image.machine == machine and image.headers_size == 0x5000


def test_order_of_the_mapping_does_not_matter_and_empty_sections_are_left_out() -> None:
    again = dict(reversed(SECTIONS.items()))
    assert written(again) == written(SECTIONS) == written(SECTIONS | {".ucode": b""})


def test_a_signature_and_debris_of_the_stub_go() -> None:
    stub = bytearray(efi.stub() + b"signature or symbols")
    image = pe.read(io.BytesIO(stub))
    struct.pack_into("<II", stub, image.directory_at, image.body_end, 20)
    assert written(SECTIONS, bytes(stub)) == written(SECTIONS)


def test_texts_are_read() -> None:
    stream = io.BytesIO(written(SECTIONS))
    assert uki.text(stream, ".cmdline") == "console=ttyS0 quiet"
    assert uki.text(stream, ".splash") == ""
    assert uki.stub_version(stream) == "257.1-test"
    assert uki.stub_version(io.BytesIO(efi.program({".text": b"x"}))) == ""


class Zeros(io.RawIOBase):
    """A body of zeros that notes how much was asked for at once."""

    largest = 0

    def __init__(self, size: int) -> None:
        super().__init__()
        self._left = size

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None and size >= 0
        Zeros.largest = max(Zeros.largest, size)
        count = min(size, self._left)
        self._left -= count
        return bytes(count)


class Counted(io.RawIOBase):
    """An output that only counts."""

    size = 0

    def write(self, data: Any) -> int:
        self.size += len(data)
        return len(data)


def test_large_contents_are_streamed() -> None:
    size = 300 << 20
    out = Counted()
    sections = {".linux": Content.of(b"k"), ".initrd": Content(size, lambda: cast(BinaryIO, Zeros(size)))}
    assert uki.write(efi.stub(), sections, cast(BinaryIO, out)) == out.size > size
    assert Zeros.largest <= 1 << 20


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({".linux": 1, ".secret": 1}, "no section '.secret'"),
        ({".osrel": 1}, "needs a kernel"),
        ({".linux": 1, ".sbat": 1}, "no section '.sbat'"),
        ({".linux": 1, ".initrd": (1 << 32) - 4096}, "4 GiB is the limit"),
    ],
)
def test_what_cannot_be_an_image_is_refused(sections: dict[str, int], message: str) -> None:
    given_ = {name: Content(size, io.BytesIO) for name, size in sections.items()}
    with pytest.raises(ConfigError) as caught:
        uki.write(efi.stub(), given_, io.BytesIO())
    assert message in str(caught.value)


def test_a_stub_without_room_is_refused() -> None:
    with pytest.raises(ConfigError, match="no room for 5 more sections"):
        written(SECTIONS, efi.stub(room=0x200))


def test_a_stub_that_has_a_section_already_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"has a section \.initrd itself"):
        written(SECTIONS, efi.program({".text": b"x", ".initrd": b"y"}))


def test_what_is_no_stub_is_refused() -> None:
    with pytest.raises(IntegrityError):
        written(SECTIONS, b"MZ" + bytes(100))
