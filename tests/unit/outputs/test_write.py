from __future__ import annotations

import hashlib
import io
import os
import sys
import threading
from pathlib import Path

import pytest

from moby import proc
from moby.artifact import Architecture, Firmware
from moby.errors import ConfigError, IntegrityError, MobyError, PlatformError
from moby.formats import cpio, tar
from moby.formats.compress import decompress
from moby.oci.digest import Digest
from moby.outputs import write
from tests.support import bootcode, images
from tests.support.images import image
from tests.support.roots import Root, root
from tests.support.tree import unpack

REPOSITORY = Path(__file__).parents[3]
KERNEL = "docker.io/library/k"
MODULES = images.tar({"lib/": "", "lib/a.ko": "module", "boot/": "", "boot/dtb": "d"})
UCODE = b"070701 not looked at"
TEXT = """
kernel: {image: k, cmdline: "console=ttyS0 page_poison=1"}
init: [init]
files: [{path: etc/motd, contents: "hello"}]
"""
INIT = image([{"bin/": "", "bin/busybox": "b" * 5000, "dev/": "", "dev/null": images.device(1, 3)}])


def machine(folder: Path, text: str = TEXT, label: str | None = None) -> Root:
    labels = {"Labels": {"org.mobyproject.moby.initrd": label}} if label else {}
    kernel = image([{"kernel": "vmlinuz", "kernel.tar": MODULES, "ucode.cpio": UCODE}], labels)
    return root(folder, text, {KERNEL: kernel, "docker.io/library/init": INIT})


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "store")


def test_a_tar_holds_the_whole_root(tmp_path: Path) -> None:
    made = machine(tmp_path)
    (artifact,) = write(made.plan, made.store, formats=["tar"], name="web", directory=tmp_path)
    path = artifact.file("tar")
    assert path == tmp_path / "web.tar"
    with path.open("rb") as stream:
        assert unpack(tar.read(stream)) == made.tree()
    assert (artifact.name, artifact.architecture, artifact.firmware) == ("web", Architecture.AMD64, Firmware.NONE)
    assert artifact.size_bytes == path.stat().st_size


def test_the_standard_tool_lists_the_tar(tmp_path: Path) -> None:
    made = machine(tmp_path)
    (artifact,) = write(made.plan, made.store, formats=["tar"], name="web", directory=tmp_path)
    names = proc.run(["tar", "tf", artifact.file("tar")]).decode().split()
    assert [name.rstrip("/") for name in names] == [entry.path for entry in made.held()]


def test_kernel_and_initrd_are_three_files(tmp_path: Path) -> None:
    made = machine(tmp_path)
    (artifact,) = write(made.plan, made.store, formats=[], name="web", directory=tmp_path)
    assert artifact.format == "kernel+initrd"
    assert artifact.firmware is Firmware.DIRECT
    assert dict(artifact.files) == {
        "kernel": tmp_path / "web-kernel",
        "initrd": tmp_path / "web-initrd.img",
        "cmdline": tmp_path / "web-cmdline",
    }
    assert artifact.file("kernel").read_bytes() == b"vmlinuz"
    assert artifact.file("cmdline").read_text() == "console=ttyS0 page_poison=1 rootfstype=ramfs"
    assert artifact.size_bytes == sum(path.stat().st_size for _, path in artifact.files)
    # busybox takes two pages, motd, hosts and the module one each
    assert artifact.root_bytes == 5 * 4096


def test_the_initrd_is_the_tree_without_what_is_booted(tmp_path: Path) -> None:
    made = machine(tmp_path)
    (artifact,) = write(made.plan, made.store, formats=[], name="web", directory=tmp_path)
    expected = {path: node for path, node in made.tree().items() if not path.startswith("boot/")}
    with artifact.file("initrd").open("rb") as stream:
        assert stream.peek(2)[:2] == b"\x1f\x8b"
        assert unpack(cpio.read(decompress(stream))) == expected
    assert "boot" in expected


@pytest.mark.parametrize(
    ("label", "magic"),
    [
        ("zstd,gzip", b"\x28\xb5\x2f\xfd"),
        ("gzip, zstd", b"\x28\xb5\x2f\xfd"),
        ("gzip", b"\x1f\x8b"),
        ("xz", b"\x1f\x8b"),
    ],
)
def test_the_kernel_image_says_how_its_initrd_may_be_packed(tmp_path: Path, label: str, magic: bytes) -> None:
    made = machine(tmp_path, label=label)
    (artifact,) = write(made.plan, made.store, formats=[], name="web", directory=tmp_path)
    assert artifact.file("initrd").read_bytes().startswith(magic)


def test_microcode_stands_first_and_uncompressed(tmp_path: Path) -> None:
    made = machine(tmp_path, TEXT.replace("{image: k,", "{image: k, ucode: ucode.cpio,"))
    (artifact,) = write(made.plan, made.store, formats=[], name="web", directory=tmp_path)
    data = artifact.file("initrd").read_bytes()
    assert data.startswith(UCODE + bytes(-len(UCODE) % 4) + b"\x1f\x8b")


def test_other_outputs_have_the_microcode_too(tmp_path: Path) -> None:
    made = machine(tmp_path, TEXT.replace("{image: k,", "{image: k, ucode: ucode.cpio,"))
    formats = ["kernel+initrd", "oci", "raw-bios"]
    settings = bootcode.settings(made.store)
    first, *rest = write(made.plan, made.store, formats=formats, name="web", directory=tmp_path, settings=settings)
    initrd = first.file("initrd").read_bytes()
    assert initrd.startswith(UCODE)
    assert all(initrd in each.files[0][1].read_bytes() for each in rest)


@pytest.mark.parametrize(("name", "after"), [("raw-bios", b""), ("iso-bios", b" moby.root=")])
def test_the_command_line_is_text_whatever_is_in_it(name: str, after: bytes, tmp_path: Path) -> None:
    made = machine(tmp_path, 'kernel: {image: k, cmdline: "a=%d\\\\n%% nfsroot=x:/y"}')
    settings = bootcode.settings(made.store)
    (artifact,) = write(made.plan, made.store, formats=[name], name="web", directory=tmp_path, settings=settings)
    assert b"    APPEND a=%d\\n%% nfsroot=x:/y" + after in artifact.files[0][1].read_bytes()


@pytest.mark.parametrize(
    ("cmdline", "booted"),
    [
        ("a rootfstype=tmpfs", "a rootfstype=tmpfs"),
        ("", "rootfstype=ramfs"),
        ("xrootfstype=a", "xrootfstype=a rootfstype=ramfs"),
    ],
)
def test_the_yamls_root_type_wins_and_the_tar_keeps_the_yamls_line(tmp_path: Path, cmdline: str, booted: str) -> None:
    made = machine(tmp_path, f"kernel: {{image: k, cmdline: '{cmdline}'}}")
    (artifact,) = write(made.plan, made.store, formats=[], name="web", directory=tmp_path)
    assert artifact.file("cmdline").read_text() == booted
    assert made.tree()["boot/cmdline"].content == hashlib.sha256(cmdline.encode()).hexdigest()


def test_without_a_kernel_there_is_only_an_initrd(tmp_path: Path) -> None:
    made = machine(tmp_path, "init: [init]")
    (artifact,) = write(made.plan, made.store, formats=[], name="web", directory=tmp_path)
    assert [role for role, _ in artifact.files] == ["initrd"]
    assert listing(tmp_path) == ["web-initrd.img"]


def test_output_names_one_file_or_stdout(tmp_path: Path) -> None:
    made = machine(tmp_path)
    stdout = io.BytesIO()
    (streamed,) = write(made.plan, made.store, formats=["tar"], output="-", stdout=stdout)
    (named,) = write(made.plan, made.store, formats=[], output=tmp_path / "out.bin")
    assert (tmp_path / "out.bin").read_bytes() == stdout.getvalue()
    assert streamed.size_bytes == named.size_bytes == len(stdout.getvalue())
    assert (streamed.files, named.files) == ((), (("tar", tmp_path / "out.bin"),))


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    made = machine(tmp_path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write(made.plan, made.store, formats=["tar"], output=pipe)
    reader.join(10)
    assert pipe.is_fifo()
    with io.BytesIO(got[0]) as stream:
        assert unpack(tar.read(stream)) == made.tree()


def test_a_failed_build_leaves_what_was_there(tmp_path: Path) -> None:
    made = machine(tmp_path)
    for name in ("web-kernel", "web-initrd.img", "web-cmdline"):
        (tmp_path / name).write_text("old")
    layer = made.plan.init[0].image.layers[0]
    blob = tmp_path / "store" / "blobs" / "sha256" / layer.digest.hex
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-9] + b"overwrite")
    with pytest.raises(IntegrityError):
        write(made.plan, made.store, formats=[], name="web", directory=tmp_path)
    assert listing(tmp_path) == ["web-cmdline", "web-initrd.img", "web-kernel"]
    assert {(tmp_path / name).read_text() for name in listing(tmp_path)} == {"old"}
    with pytest.raises(IntegrityError):
        write(made.plan, made.store, formats=["tar"], output=tmp_path / "new.tar")
    assert "new.tar" not in listing(tmp_path)


def test_a_full_disk_is_one_error_that_says_what_to_do(tmp_path: Path) -> None:
    made = machine(tmp_path)
    with pytest.raises(PlatformError, match="No space left") as caught:
        write(made.plan, made.store, formats=["tar"], output="/dev/full")
    assert caught.value.where == "/dev/full"
    assert "free some space" in caught.value.fix


def test_nothing_is_read_when_the_formats_are_refused(tmp_path: Path) -> None:
    made = machine(tmp_path)
    with pytest.raises(ConfigError):
        write(made.plan, made.store, formats=["tar", "kernel+initrd"], name="web", directory=tmp_path)
    with pytest.raises(MobyError, match="no directory"):
        write(made.plan, made.store, formats=["tar"], name="web", directory=tmp_path / "gone")
    assert listing(tmp_path) == []


def test_outputs_are_readable_by_all_and_writable_by_their_owner(tmp_path: Path) -> None:
    made = machine(tmp_path)
    old = os.umask(0)
    try:
        write(made.plan, made.store, formats=[], name="web", directory=tmp_path)
    finally:
        os.umask(old)
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in listing(tmp_path)} == {0o644}


def test_two_builds_give_the_same_bytes(tmp_path: Path) -> None:
    digests = []
    for name in ("one", "two"):
        folder = tmp_path / name
        made = machine(folder, label="zstd,gzip")
        (boot,) = write(made.plan, made.store, formats=[], name="web", directory=folder)
        (whole,) = write(made.plan, made.store, formats=["tar"], name=name, directory=folder)
        digests.append([Digest.of(path.read_bytes()) for _, path in (*boot.files, *whole.files)])
    assert digests[0] == digests[1]


def test_a_large_image_takes_little_memory(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.memory", str(tmp_path), "300"]
    path = os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "src")))
    kibibytes = int(proc.run(command, env={**os.environ, "PYTHONPATH": path}, timeout_s=60))
    assert kibibytes < 120 << 10


def test_a_part_of_an_earlier_build_does_not_stay(tmp_path: Path) -> None:
    made = machine(tmp_path)
    write(made.plan, made.store, formats=[], name="web", directory=tmp_path)
    assert (tmp_path / "web-kernel").exists()
    bare = root(tmp_path / "bare", "files: [{path: etc/x, contents: hi}]")
    write(bare.plan, bare.store, formats=[], name="web", directory=tmp_path)
    assert [path.name for path in tmp_path.glob("web-*")] == ["web-initrd.img"]


def test_a_name_may_have_directories(tmp_path: Path) -> None:
    made = machine(tmp_path)
    (tmp_path / "out").mkdir()
    (artifact,) = write(made.plan, made.store, formats=[], name="out/web", directory=tmp_path)
    assert artifact.name == "web"
    assert artifact.file("initrd") == tmp_path / "out/web-initrd.img"
