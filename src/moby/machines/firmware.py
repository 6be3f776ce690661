"""What UEFI firmware says when it starts nothing: it waits forever then, for somebody to press a key.

The texts are those of EDK II (``MdeModulePkg/Universal/BdsDxe``, ``ShellPkg``), on which OVMF and AAVMF are built.
"""

from __future__ import annotations

import re

# It speaks first; what a guest says much later is not its voice.
HEAD_BYTES = 64 << 10
_DENIED = re.compile(
    rb'^BdsDxe: failed to (?:load|start) Boot[0-9A-F]{4} "([^"\r\n]{0,200})" from [^\r\n]{0,2000}: '
    rb"(?:Access Denied|Security Violation)",
    re.MULTILINE,
)
_WAITS = re.compile(rb"^BdsDxe: No bootable option or device was found|^Shell> ", re.MULTILINE)
_SHELL = "EFI Internal Shell"  # the firmware's own, the last that it tries
_ESCAPE = re.compile(rb"\x1b\[[0-9;=?]*[A-Za-z]")


def refused(console: bytes) -> tuple[str, ...]:
    """What Secure Boot refused, by the firmware's names, once there is nothing left that could start; else nothing.

    ``console`` is how the machine's console begins, up to ``HEAD_BYTES``.
    """
    said = _ESCAPE.sub(b"", console[:HEAD_BYTES])
    if not _WAITS.search(said):
        return ()
    names = tuple(dict.fromkeys(name.decode("utf-8", "replace") for name in _DENIED.findall(said)))
    return tuple(name for name in names if name != _SHELL) or names
