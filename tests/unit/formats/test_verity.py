from __future__ import annotations

import io
import random
from pathlib import Path
from uuid import UUID

import pytest

from moby import proc
from moby.errors import CommandError, IntegrityError
from moby.formats import verity
from moby.formats.verity import BLOCK_BYTES, Superblock

ID = UUID("5b6c9d1e-0000-4000-8000-0123456789ab")
SALT = bytes(range(32))


def noise(blocks: int) -> bytes:
    return random.Random(blocks).randbytes(blocks * BLOCK_BYTES)


def made(data: bytes, *, salt: bytes = SALT, algorithm: str = "sha256") -> tuple[bytes, bytes]:
    out = io.BytesIO()
    root = verity.write(io.BytesIO(data), len(data), out, salt=salt, uuid=ID, algorithm=algorithm)
    assert out.tell() == len(out.getvalue())
    return out.getvalue(), root


# One block; one level; a full block of hashes, one more; full and one more at the second level.
@pytest.mark.parametrize("blocks", [1, 2, 3, 127, 128, 129, 128 * 128, 128 * 128 + 1])
def test_the_tree_is_that_of_veritysetup(tmp_path: Path, blocks: int) -> None:
    compare(tmp_path, noise(blocks), SALT, "sha256")


@pytest.mark.parametrize(("salt", "algorithm"), [(b"", "sha256"), (bytes(256), "sha256"), (SALT, "sha512")])
def test_salts_and_algorithms_are_those_of_veritysetup(tmp_path: Path, salt: bytes, algorithm: str) -> None:
    compare(tmp_path, noise(200), salt, algorithm)


def compare(folder: Path, data: bytes, salt: bytes, algorithm: str) -> None:
    (folder / "data").write_bytes(data)
    command = ["veritysetup", "format", f"--uuid={ID}", f"--salt={salt.hex() or '-'}", f"--hash={algorithm}"]
    report = proc.run([*command, str(folder / "data"), str(folder / "tree")]).decode()
    tree, root = made(data, salt=salt, algorithm=algorithm)
    assert tree == (folder / "tree").read_bytes()
    assert root.hex() in report
    assert verity.verify(io.BytesIO(data), io.BytesIO(tree), root).data_blocks == len(data) // BLOCK_BYTES


def test_veritysetup_verifies_a_tree_behind_its_data(tmp_path: Path) -> None:
    data, disk = noise(300), tmp_path / "disk"
    with disk.open("w+b") as file:
        file.write(data)
        file.seek(len(data))
        root = verity.write(io.BytesIO(data), len(data), file, salt=SALT, uuid=ID)
    command = ["veritysetup", "verify", f"--hash-offset={len(data)}", str(disk), str(disk), root.hex()]
    proc.run(command)
    with disk.open("r+b") as file:
        file.seek(123_456)
        file.write(b"!")
    with pytest.raises(CommandError):
        proc.run(command)
    with disk.open("rb") as file, disk.open("rb") as tree:
        tree.seek(len(data))
        with pytest.raises(IntegrityError, match="data block 30 does not match"):
            verity.verify(file, tree, root)


def test_data_may_come_in_odd_pieces() -> None:
    class Pieces(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 0, 5000))

    data, out = noise(40), io.BytesIO()
    root = verity.write(Pieces(data), len(data), out, salt=SALT, uuid=ID)
    assert (out.getvalue(), root) == made(data)


def test_what_was_changed_is_named() -> None:
    data = noise(128 * 2 + 5)
    tree, root = made(data)
    changed = bytearray(tree)
    changed[2 * BLOCK_BYTES + 32 * 3] ^= 1  # the lowest level follows the superblock and the top
    with pytest.raises(IntegrityError, match="data block 3 does not match"):
        verity.verify(io.BytesIO(data), io.BytesIO(changed), root)
    changed = bytearray(tree)
    changed[BLOCK_BYTES + 32] ^= 1
    with pytest.raises(IntegrityError, match="block of level 0 1 does not match"):
        verity.verify(io.BytesIO(data), io.BytesIO(changed), root)
    with pytest.raises(IntegrityError, match="expected root hash 00"):
        verity.verify(io.BytesIO(data), io.BytesIO(tree), bytes(32))
    with pytest.raises(IntegrityError, match="does not match"):
        verity.verify(io.BytesIO(data), io.BytesIO(tree[:-1]), root)


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES + 1])
def test_half_blocks_are_refused(size: int) -> None:
    with pytest.raises(IntegrityError, match="blocks of 4096"):
        made(bytes(size))


def test_short_data_is_refused() -> None:
    with pytest.raises(IntegrityError, match="ends 4096 bytes early"):
        verity.write(io.BytesIO(noise(2)), 3 * BLOCK_BYTES, io.BytesIO(), salt=SALT, uuid=ID)


def test_unknown_algorithms_and_long_salts_are_refused() -> None:
    with pytest.raises(ValueError, match="md5"):
        made(noise(1), algorithm="md5")
    with pytest.raises(ValueError, match="257 bytes of salt"):
        made(noise(1), salt=bytes(257))


@pytest.mark.parametrize(
    ("at", "change", "message"),
    [
        (0, b"Verity", "not a verity superblock"),
        (8, b"\x02", "version 2"),
        (32, b"sha1\0\0", "'sha1'"),
        (64, b"\0\x02\0\0", "blocks of 512 and 4096"),
        (72, bytes(8), "of 0 blocks"),
        (80, b"\xff\xff", "65535 bytes of salt"),
    ],
)
def test_hostile_superblocks_are_refused(at: int, change: bytes, message: str) -> None:
    tree = made(noise(1))[0]
    with pytest.raises(IntegrityError, match=message):
        Superblock.decode(tree[:at] + change + tree[at + len(change) :])
