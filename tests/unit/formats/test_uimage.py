from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby import proc
from moby.errors import ConfigError, IntegrityError
from moby.formats import uimage
from moby.formats.uimage import Compression, Header, Type

U32 = st.integers(0, 0xFFFFFFFF)


@given(
    st.binary(max_size=3000),
    st.builds(
        Header,
        type=st.sampled_from(Type),
        compression=st.sampled_from(Compression),
        load=U32,
        entry=U32,
        time_s=U32,
        name=st.text("abc-.1", max_size=31),
    ),
)
def test_an_image_is_read_back(data: bytes, header: Header) -> None:
    out = io.BytesIO()
    assert uimage.write(io.BytesIO(data), out, header) == out.tell() == uimage.HEADER_BYTES + len(data)
    out.seek(0)
    found = uimage.read(out)
    assert (found.type, found.compression, found.load, found.entry) == (
        header.type,
        header.compression,
        header.load,
        header.entry,
    )
    assert (found.time_s, found.name, found.size) == (header.time_s, header.name, len(data))


@given(st.integers(0, uimage.HEADER_BYTES + 99), st.integers(1, 255))
def test_a_changed_byte_is_noticed(at: int, change: int) -> None:
    out = io.BytesIO()
    uimage.write(io.BytesIO(bytes(100)), out, Header(type=Type.KERNEL))
    data = bytearray(out.getvalue())
    data[at] ^= change
    with pytest.raises(IntegrityError):
        uimage.read(io.BytesIO(data))


@given(st.integers(0, uimage.HEADER_BYTES + 99))
def test_a_cut_image_is_noticed(length: int) -> None:
    out = io.BytesIO()
    uimage.write(io.BytesIO(bytes(100)), out, Header(type=Type.KERNEL))
    with pytest.raises(IntegrityError):
        uimage.read(io.BytesIO(out.getvalue()[:length]))


def test_what_the_header_cannot_say_is_refused() -> None:
    with pytest.raises(ConfigError, match="too much"):
        Header(type=Type.KERNEL, size=1 << 32).pack()
    with pytest.raises(ConfigError, match="too much"):
        Header(type=Type.KERNEL, name="a" * 32).pack()


@pytest.mark.shows("mkimage writes the same images for U-Boot", by="peer")
@pytest.mark.parametrize("kind", ["kernel", "ramdisk", "script"])
def test_mkimage_writes_the_same(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1492533000")
    data, theirs, ours = tmp_path / "data", tmp_path / "theirs", tmp_path / "ours"
    data.write_bytes(b"echo hello\n" * 300)
    common: list[str | Path] = ["mkimage", "-A", "arm64", "-O", "linux", "-T", kind, "-n", "name", "-d", data]
    if kind == "kernel":
        proc.run([*common, "-C", "gzip", "-a", "0x80000", "-e", "0x80000", theirs])
    else:
        proc.run([*common, "-C", "none", theirs])
    if kind == "script":
        ours.write_bytes(uimage.script(data.read_bytes(), time_s=1492533000, name="name"))
    else:
        header = Header(type=Type[kind.upper()], time_s=1492533000, name="name")
        if kind == "kernel":
            header = Header(
                type=Type.KERNEL,
                time_s=1492533000,
                name="name",
                compression=Compression.GZIP,
                load=0x80000,
                entry=0x80000,
            )
        with data.open("rb") as stream, ours.open("wb") as out:
            uimage.write(stream, out, header)
    assert ours.read_bytes() == theirs.read_bytes()
    with ours.open("rb") as stream:
        assert uimage.read(stream).name == "name"
