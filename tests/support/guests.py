"""Tiny guests made by code: a few steps of machine code in place of a kernel; QEMU starts them in an instant.

``prefix(directory, say("hello"), POWER_OFF)`` writes ``NAME-kernel`` and ``NAME-cmdline`` and gives the prefix that
``moby run`` takes. Ports are those of QEMU's q35 machine: COM1, the ACPI power management block, pvpanic, the keyboard
controller's reset line.
"""

from __future__ import annotations

from pathlib import Path

from moby.machines.probe_kernel import pvh_elf

POWER_OFF = bytes.fromhex("66ba0406 66b80020 66ef f4 ebfd")  # PM1a control := S5; halt
PANIC = bytes.fromhex("66ba0505 b001 ee f4 ebfd")  # pvpanic := panicked; halt
RESET = bytes.fromhex("b0fe e664 f4 ebfd")  # keyboard controller: pulse the reset line; halt
HANG = bytes.fromhex("f4 ebfd")  # halt, with interrupts off
# PM1a enable := power button; until the status says it was pressed: read it again.
WAIT_FOR_BUTTON = bytes.fromhex("66ba0206 66b80001 66ef 66ba0006 66ed f6c401 74f9")


def say(text: str) -> bytes:
    """Write ``text`` to COM1, its line ends as a terminal needs them."""
    letters = text.replace("\n", "\r\n").encode()
    return bytes.fromhex("66baf803") + b"".join(b"\xb0" + bytes((letter,)) + b"\xee" for letter in letters)


def echo_until(letter: str) -> bytes:
    """Send back what comes in on COM1, up to and with ``letter``."""
    receive = "66bafd03 ec a801 74f7 66baf803 ec ee 3c"
    return bytes.fromhex(receive) + letter.encode() + bytes.fromhex("75ed")


def prefix(directory: Path, *steps: bytes, name: str = "guest") -> Path:
    """Write a kernel of ``steps`` and return the prefix that names it."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}-kernel").write_bytes(pvh_elf(b"".join(steps)))
    (directory / f"{name}-cmdline").write_text("console=ttyS0")
    return directory / name
