"""Which modules the small initrd of a root on a disk carries, and in which order."""

from __future__ import annotations

from moby.outputs.stage1 import load_order

DEPENDENCIES = {
    "kernel/virtio.ko": ("kernel/ring.ko",),
    "kernel/ring.ko": (),
    "kernel/virtio-blk.ko": ("kernel/virtio.ko", "kernel/ring.ko"),
    "kernel/sd_mod.ko": ("kernel/scsi.ko",),
    "kernel/scsi.ko": (),
}


def test_what_is_needed_comes_first_and_once() -> None:
    groups = load_order(DEPENDENCIES, (("virtio_blk", "virtio"), ("sd_mod",)))
    assert groups == (
        ("kernel/ring.ko", "kernel/virtio.ko", "kernel/virtio-blk.ko"),
        ("kernel/scsi.ko", "kernel/sd_mod.ko"),
    )


def test_what_a_kernel_lacks_is_left_out() -> None:
    assert load_order(DEPENDENCIES, (("nvme",), ("virtio", "xen"))) == (("kernel/ring.ko", "kernel/virtio.ko"),)


def test_a_kernel_without_modules_needs_none() -> None:
    assert load_order({}, (("virtio_blk",),)) == ()
