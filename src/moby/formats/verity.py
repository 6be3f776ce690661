"""The hash tree of dm-verity, with which Linux checks each block of a read-only disk as it is read.

The tree is what ``veritysetup format`` writes, byte for byte: a superblock in a block of its own, then the levels, the
top one first; a hash is of the salt and a block (hash type 1). Where each level goes follows from the size alone, so
the tree is written in one pass, with one open block per level in memory.

Sources: the kernel's Documentation/admin-guide/device-mapper/verity.rst; "DMVerity" in the cryptsetup wiki (the
superblock).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO
from uuid import UUID

from moby.errors import IntegrityError

ALGORITHMS = ("sha256", "sha512")
BLOCK_BYTES = 4096
MAX_SALT_BYTES = 256

_CHUNK_BYTES = 1 << 20
_MAGIC = b"verity\0\0"
# Magic, version, hash type, UUID, algorithm, data block, hash block, data blocks, salt's size and the salt.
_SUPERBLOCK = struct.Struct("<8sII16s32sIIQH6x256s168x")

Emit = Callable[[int, int, bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Superblock:
    """What stands in front of a tree. Blocks of data and of hashes are ``BLOCK_BYTES`` each."""

    uuid: UUID
    salt: bytes
    data_blocks: int
    algorithm: str = "sha256"

    @property
    def levels(self) -> tuple[int, ...]:
        """Blocks of each level, the lowest first; none when there is one data block, whose hash is the root's."""
        fan, blocks, found = BLOCK_BYTES // _digest_bytes(self.algorithm), self.data_blocks, []
        while blocks > 1:
            blocks = -(-blocks // fan)
            found.append(blocks)
        return tuple(found)

    @property
    def size_bytes(self) -> int:
        """What the superblock and the tree take together."""
        return (1 + sum(self.levels)) * BLOCK_BYTES

    def encode(self) -> bytes:
        """The first block."""
        return _SUPERBLOCK.pack(
            _MAGIC,
            1,
            1,
            self.uuid.bytes,
            self.algorithm.encode(),
            BLOCK_BYTES,
            BLOCK_BYTES,
            self.data_blocks,
            len(self.salt),
            self.salt,
        ).ljust(BLOCK_BYTES, b"\0")

    @classmethod
    def decode(cls, data: bytes, *, where: str = "") -> Superblock:
        """What a block says. ``IntegrityError`` when it is no superblock, or of a kind that is not written here."""
        if len(data) < _SUPERBLOCK.size or data[:8] != _MAGIC:
            raise IntegrityError("this is not a verity superblock", where=where)
        _, version, kind, uuid, name, data_block, hash_block, blocks, size, salt = _SUPERBLOCK.unpack_from(data)
        algorithm = name.rstrip(b"\0").decode("ascii", "replace")
        if (version, kind, data_block, hash_block) != (1, 1, BLOCK_BYTES, BLOCK_BYTES) or algorithm not in ALGORITHMS:
            what = f"version {version}, type {kind}, {algorithm!r}, blocks of {data_block} and {hash_block} bytes"
            raise IntegrityError(f"a verity tree of an unknown kind: {what}", where=where)
        if not blocks or size > MAX_SALT_BYTES:
            raise IntegrityError(f"a verity tree of {blocks} blocks with {size} bytes of salt", where=where)
        return cls(uuid=UUID(bytes=uuid), salt=salt[:size], data_blocks=blocks, algorithm=algorithm)


def write(
    data: BinaryIO, size_bytes: int, out: BinaryIO, *, salt: bytes, uuid: UUID, algorithm: str = "sha256"
) -> bytes:
    """Write superblock and tree of the next ``size_bytes`` of ``data`` to ``out``, from its position on.

    Gives the root hash. ``out`` must be seekable and ends after the tree; ``data`` is read once. Raises
    ``IntegrityError`` when the size is no multiple of ``BLOCK_BYTES``, or ``data`` is shorter.
    """
    if not size_bytes or size_bytes % BLOCK_BYTES:
        raise IntegrityError(f"{size_bytes} bytes are not some blocks of {BLOCK_BYTES}", where="verity")
    superblock = Superblock(uuid=uuid, salt=salt, data_blocks=size_bytes // BLOCK_BYTES, algorithm=algorithm)
    base = out.tell()
    out.write(superblock.encode())
    at = _places(superblock, base + BLOCK_BYTES)
    position = base + BLOCK_BYTES

    def emit(level: int, index: int, block: bytes) -> None:
        nonlocal position
        place = at[level] + index * BLOCK_BYTES
        if place != position:
            out.seek(place)
        out.write(block)
        position = place + BLOCK_BYTES

    root = _Tree(superblock, emit).root(data)
    out.seek(base + superblock.size_bytes)
    return root


def verify(data: BinaryIO, tree: BinaryIO, root_hash: bytes) -> Superblock:
    """Check ``data`` against a tree that begins at the position of a seekable stream; what its superblock says.

    Raises ``IntegrityError`` naming the first block of data, or the place in the tree, that is not as it was.
    """
    base = tree.tell()
    superblock = Superblock.decode(tree.read(BLOCK_BYTES))
    at = _places(superblock, base + BLOCK_BYTES)
    digest_bytes = _digest_bytes(superblock.algorithm)

    def emit(level: int, index: int, block: bytes) -> None:
        tree.seek(at[level] + index * BLOCK_BYTES)
        found = tree.read(BLOCK_BYTES)
        if found == block:
            return
        fan = BLOCK_BYTES // digest_bytes
        pairs = zip(*(_cut(each.ljust(BLOCK_BYTES, b"\0"), digest_bytes) for each in (found, block)), strict=True)
        wrong = index * fan + next((number for number, (one, other) in enumerate(pairs) if one != other), 0)
        what = "data block" if level == 0 else f"block of level {level - 1}"
        raise IntegrityError(f"{what} {wrong} does not match its hash", where="verity")

    root = _Tree(superblock, emit).root(data)
    if root != root_hash:
        raise IntegrityError(f"expected root hash {root_hash.hex()}, got {root.hex()}", where="verity")
    return superblock


class _Tree:
    """Hashes blocks and passes full blocks of hashes on: to ``emit`` with their level, and to the level above."""

    def __init__(self, superblock: Superblock, emit: Emit) -> None:
        if superblock.algorithm not in ALGORITHMS or len(superblock.salt) > MAX_SALT_BYTES:
            raise ValueError(f"{superblock.algorithm} with {len(superblock.salt)} bytes of salt")
        self._superblock = superblock
        self._emit = emit
        self._salted = hashlib.new(superblock.algorithm, superblock.salt)
        self._open = [bytearray() for _ in superblock.levels]
        self._counts = [0 for _ in superblock.levels]
        self._root = b""

    def root(self, data: BinaryIO) -> bytes:
        """Hash all the data; the root hash."""
        left = self._superblock.data_blocks * BLOCK_BYTES
        pending = b""
        while left:
            chunk = data.read(min(_CHUNK_BYTES, left))
            if not chunk:
                raise IntegrityError(f"the data ends {left} bytes early", where="verity")
            left -= len(chunk)
            pending = pending + chunk if pending else chunk
            whole = len(pending) - len(pending) % BLOCK_BYTES
            for start in range(0, whole, BLOCK_BYTES):
                self._add(0, pending[start : start + BLOCK_BYTES])
            pending = pending[whole:]
        for level, open_ in enumerate(self._open):
            if open_:
                self._close(level)
        return self._root

    def _add(self, level: int, block: bytes) -> None:
        """Put a block's hash into ``level``."""
        state = self._salted.copy()
        state.update(block)
        if level == len(self._open):
            self._root = state.digest()
            return
        open_ = self._open[level]
        open_ += state.digest()
        if len(open_) == BLOCK_BYTES:
            self._close(level)

    def _close(self, level: int) -> None:
        block = bytes(self._open[level]).ljust(BLOCK_BYTES, b"\0")
        self._open[level].clear()
        self._emit(level, self._counts[level], block)
        self._counts[level] += 1
        self._add(level + 1, block)


def _places(superblock: Superblock, start: int) -> list[int]:
    """Where each level begins, the lowest first; the top one is at ``start``."""
    places: list[int] = []
    for blocks in reversed(superblock.levels):
        places.append(start)
        start += blocks * BLOCK_BYTES
    return places[::-1]


def _digest_bytes(algorithm: str) -> int:
    return hashlib.new(algorithm).digest_size


def _cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]
