from __future__ import annotations

import gc
import io
import weakref

import pytest

from moby.formats import decompress
from moby.formats.compress import Codec, compressor

DATA = bytes(range(256)) * 4096


def packed(codec: Codec) -> io.BytesIO:
    out = io.BytesIO()
    with compressor(codec, out) as stream:
        stream.write(DATA)
    return io.BytesIO(out.getvalue())


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.ZSTD])
def test_what_a_reader_holds_is_freed_with_it_without_the_garbage_collector(codec: Codec) -> None:
    # Windows of some MiB, in objects of libraries that the collector cannot see into: in a cycle they stay for ever.
    source = packed(codec)
    gc.disable()
    try:
        reader = decompress.decompress(source)
        assert reader.read() == DATA
        gone = weakref.ref(reader)
        before = [each for each in gc.get_objects() if type(each).__module__ == decompress.__name__]
        states = [weakref.ref(each) for each in before if hasattr(each, "__weakref__")]
        assert states
        del before, reader
        assert gone() is None
        assert not [state for state in states if state() is not None]
    finally:
        gc.enable()
