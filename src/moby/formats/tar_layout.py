"""What readers and writers of tar archives both know: block size, types of entries, names of pax records."""

from __future__ import annotations

from moby.formats.entry import Kind

BLOCK_BYTES = 512
END = bytes(2 * BLOCK_BYTES)

KINDS = {
    b"0": Kind.FILE,
    b"\0": Kind.FILE,
    b"7": Kind.FILE,
    b"1": Kind.HARDLINK,
    b"2": Kind.SYMLINK,
    b"3": Kind.CHAR,
    b"4": Kind.BLOCK,
    b"5": Kind.DIRECTORY,
    b"6": Kind.FIFO,
}
XATTR = "SCHILY.xattr."
LINKS = "SCHILY.nlink"
