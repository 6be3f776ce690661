from __future__ import annotations

import pytest

from moby.machines import firmware

CLEAR = "\x1b[2J\x1b[01;01H\x1b[=3h"
DENIED = (
    'BdsDxe: loading Boot0001 "UEFI Misc Device" from PciRoot(0x0)/Pci(0x3,0x0)\r\n'
    'BdsDxe: failed to load Boot0001 "UEFI Misc Device" from PciRoot(0x0)/Pci(0x3,0x0): Access Denied\r\n'
)
SHELL = 'BdsDxe: failed to start Boot0002 "EFI Internal Shell" from Fv(7CB8)/FvFile(7C04): Security Violation\r\n'
NOTHING = "BdsDxe: No bootable option or device was found.\r\nBdsDxe: Press any key to enter the Boot Manager Menu.\r\n"


@pytest.mark.parametrize(
    ("said", "names"),
    [
        (CLEAR + DENIED + SHELL + NOTHING, ("UEFI Misc Device",)),
        (CLEAR + SHELL + NOTHING, ("EFI Internal Shell",)),
        (CLEAR + DENIED + DENIED + NOTHING, ("UEFI Misc Device",)),
        (CLEAR + DENIED + "UEFI Interactive Shell v2.2\r\nShell> ", ("UEFI Misc Device",)),
        (CLEAR + DENIED, ()),  # something else may start yet
        (CLEAR + NOTHING, ()),  # an empty disk is not refused
        (DENIED.replace("BdsDxe", "guest: BdsDxe") + NOTHING, ()),
        ("", ()),
    ],
)
def test_a_refusal_is_told_from_what_the_firmware_says(said: str, names: tuple[str, ...]) -> None:
    assert firmware.refused(said.encode()) == names


def test_what_comes_late_is_not_the_firmware() -> None:
    assert firmware.refused(b"x" * firmware.HEAD_BYTES + (DENIED + NOTHING).encode()) == ()
