"""What our codecs make of a fixed sample, as hashes: the same on every CPU, or outputs could not be compared.

python -m tests.support.codecs     prints them; it runs in interpreters that have the codecs and nothing else
"""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Iterator
from typing import BinaryIO, cast

from moby.formats import squashfs
from moby.formats.compress import Codec, compressor
from moby.formats.entry import file

PACKED = (Codec.GZIP, Codec.ZSTD)


def sample(seed: int) -> bytes:
    """Some 2 MB: words that come again, then bytes that do not, then a long run."""
    source = random.Random(seed)
    words = [source.randbytes(source.randrange(2, 12)) for _ in range(5000)]
    return b" ".join(source.choices(words, k=200_000)) + source.randbytes(200_000) + bytes(300_000)


def hashes() -> Iterator[str]:
    """A line for each codec and container of it."""
    for codec in PACKED:
        out = io.BytesIO()
        with compressor(codec, out) as stream:
            stream.write(sample(1))
        yield f"{hashlib.sha256(out.getvalue()).hexdigest()}  {codec}"
    files = [file(f"file{seed}", sample(seed)[: 700_000 * seed]) for seed in (1, 2)]
    for codec in PACKED:
        out = io.BytesIO()
        squashfs.write(files, cast(BinaryIO, out), codec=codec, threads=2)
        yield f"{hashlib.sha256(out.getvalue()).hexdigest()}  squashfs of {codec}"


if __name__ == "__main__":
    print("\n".join(hashes()))
