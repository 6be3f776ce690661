from __future__ import annotations

import io
import json
import struct
from pathlib import Path

from moby import proc
from moby.formats import vmdk


class Pipe(io.RawIOBase):
    """A stream that cannot seek."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override] # all that is written here are bytes
        self.data += data
        return len(data)


def written(raw: bytes) -> bytes:
    out = io.BytesIO()
    assert vmdk.write(io.BytesIO(raw), out, content_id=0xABCDEF, name="web.vmdk") == len(out.getvalue())
    return out.getvalue()


def test_it_can_be_written_to_a_pipe() -> None:
    raw, pipe = b"\1" * 100_000, Pipe()
    vmdk.write(io.BytesIO(raw), pipe, content_id=0xABCDEF, name="web.vmdk")  # type: ignore[arg-type] # no BinaryIO
    assert pipe.data == written(raw)


def test_qemu_sees_the_kind_and_the_id(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(written(b"\1" * 100_000))
    info = json.loads(proc.run(["qemu-img", "info", "-f", "vmdk", "--output=json", tmp_path / "image"]))
    assert info["virtual-size"] == 131072
    assert info["format-specific"]["data"]["create-type"] == "streamOptimized"
    assert info["format-specific"]["data"]["cid"] == 0xABCDEF


def test_the_descriptor_names_disk_and_adapter() -> None:
    text = written(b"\1")[512:10752].rstrip(b"\0").decode()
    assert 'RDONLY 128 SPARSE "web.vmdk"' in text
    assert "CID=00abcdef\n" in text
    assert 'ddb.adapterType = "lsilogic"' in text


def test_the_footer_is_the_header_with_the_place_of_the_directory() -> None:
    image = written(b"\1" * 200_000)
    header, footer = image[:512], image[-1024:-512]
    assert struct.unpack_from("<Q", header, 56) == (0xFFFFFFFFFFFFFFFF,)
    (directory,) = struct.unpack_from("<Q", footer, 56)
    assert header[:56] + footer[56:64] + header[64:] == footer
    (table,) = struct.unpack_from("<I", image, directory * 512)
    (grain,) = struct.unpack_from("<I", image, table * 512)
    assert grain == 128
    assert image[-512:] == bytes(512)
