"""EFI programs made by code: small PE32+ images that no machine could run, but every parser accepts."""

from __future__ import annotations

import struct

from moby.formats import pe

ALIGNMENT, FILE_ALIGNMENT = 0x1000, 0x200
VERSION = b"#### LoaderInfo: systemd-stub 257.1-test ####\0"
SBAT = b"sbat,1,SBAT Version\nmoby.test,1,Moby,test,1,-\n"


def program(sections: dict[str, bytes], *, machine: int = pe.Machine.AMD64, room: int = 0x600) -> bytes:
    """A program of these sections, whose headers are ``room`` bytes long."""
    rows, body, address = [], b"", ALIGNMENT
    for name, data in sections.items():
        size = -(-len(data) // FILE_ALIGNMENT) * FILE_ALIGNMENT
        rows.append(
            pe.Section(
                name=name,
                virtual_size=len(data),
                address=address,
                size=size,
                offset=room + len(body),
                flags=pe.READ | pe.CODE,
            )
        )
        body += data.ljust(size, b"\0")
        address += -(-len(data) // ALIGNMENT) * ALIGNMENT
    coff = b"PE\0\0" + struct.pack("<HHIIIHH", machine, len(rows), 0, 0, 0, 240, 0x22)
    optional = struct.pack(
        "<HBBIIIIIQII", 0x20B, 0, 0, 0, len(body), 0, ALIGNMENT, ALIGNMENT, 0, ALIGNMENT, FILE_ALIGNMENT
    )
    optional += struct.pack("<6HIIIIHHQQQQII", 0, 0, 0, 0, 0, 0, 0, address, room, 0x1234, 10, 0, 0, 0, 0, 0, 0, 16)
    head = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40) + coff + optional.ljust(240, b"\0")
    return (head + b"".join(row.pack() for row in rows)).ljust(room, b"\0") + body


def stub(**options: int) -> bytes:
    """What a unified kernel image is made from: code, and the sections that systemd's stub has."""
    return program({".text": b"\xf4" * 700, ".sbat": SBAT, ".sdmagic": VERSION}, **options)
