"""Tools of the host are used where they are, and otherwise unpacked and run from their own directory."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from moby.artifact import Architecture, host_architecture
from moby.components import catalog, slim, tools
from moby.components.packages import Packages
from moby.components.recipe import Recipe
from moby.components.tools import Tools
from moby.context import Context
from moby.errors import PlatformError
from tests.support.debs import Deb, Served, deb, lock, mirror
from tests.support.images import Content, Node, symlink

HOST = host_architecture() or Architecture.AMD64


def real_program() -> dict[str, Content]:
    """This host's ``uname`` with its libraries, laid out as Debian's packages do."""
    program = Path(shutil.which("uname") or "/bin/uname").resolve()
    shown = subprocess.run(["ldd", program], capture_output=True, check=True, text=True).stdout
    library = f"usr/lib/{slim.TRIPLETS[HOST]}"
    files: dict[str, Content] = {"usr/bin/uname": Node(data=program.read_bytes(), mode=0o755)}
    for path in (Path(word) for line in shown.splitlines() for word in line.split() if word.startswith("/")):
        files[f"{library}/{path.name}"] = Node(data=path.read_bytes(), mode=0o755)
    loader = slim.LOADERS[HOST]
    files[loader] = symlink(f"/{library}/{Path(loader).name}")
    return files


@pytest.fixture(scope="module")
def package() -> Deb:
    files = {**real_program(), "usr/share/empty.fd": bytes(3 << 20), "usr/share/link": symlink("/usr/share/empty.fd")}
    return deb("uname", files=files, architecture=str(HOST), compression="")


@pytest.fixture
def served(package: Deb) -> Iterator[Served]:
    with mirror([package]) as made:
        yield made


@pytest.fixture
def context(served: Served, tmp_path: Path) -> Context:
    return Context.from_environment(
        {
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "MOBY_DEBIAN_MIRROR": f"{served.url}/debian",
            "PATH": str(tmp_path / "bin"),
        }
    )


@pytest.fixture
def recipe(package: Deb, tmp_path: Path) -> Recipe:
    directory = tmp_path / "shipped/pkg/uname"
    directory.mkdir(parents=True)
    (directory / "build.yml").write_text(f"image: uname\npackages: [uname]\ntargets: {{{HOST}: []}}\nclosure: false\n")
    made = Recipe.load(directory)
    request = made.request(HOST, HOST)
    assert request is not None
    lock(package, request=request.digest).write(made.lock_path(HOST, HOST))
    return Recipe.load(directory)


def test_an_unpacked_program_runs_with_its_own_libraries(context: Context, recipe: Recipe, tmp_path: Path) -> None:
    made = Tools(context, Packages(context, locked=True))
    root = made.unpacked(recipe, HOST, HOST)
    wrapper = tools.wrap(root, HOST, "uname", "usr/bin/uname", ("-s",))
    assert subprocess.run([wrapper], capture_output=True, check=True, text=True, env={}).stdout == "Linux\n"
    moved = tmp_path / "moved"
    shutil.copytree(root, moved, symlinks=True)
    done = subprocess.run([moved / "wrappers/uname", "-m"], capture_output=True, check=True, text=True, env={})
    assert done.stdout.startswith("Linux ")


def test_unpacks_once_and_leaves_nothing_beside(context: Context, recipe: Recipe, served: Served) -> None:
    made = Tools(context, Packages(context, locked=True))
    root = made.unpacked(recipe, HOST, HOST)
    assert made.unpacked(recipe, HOST, HOST) == root
    assert len(served.asked) == 1
    assert [each.name for each in root.parent.iterdir() if not each.name.startswith(".")] == [root.name]


def test_zeros_become_holes_and_absolute_links_stay_inside(context: Context, recipe: Recipe) -> None:
    root = Tools(context, Packages(context, locked=True)).unpacked(recipe, HOST, HOST)
    empty = root / "usr/share/empty.fd"
    assert empty.stat().st_size == 3 << 20
    assert empty.stat().st_blocks * 512 < 1 << 20
    assert (root / "usr/share/link").resolve() == empty.resolve()


def test_a_failed_unpacking_leaves_no_tool(context: Context, recipe: Recipe, served: Served, package: Deb) -> None:
    served.files[f"/debian/{package.path}"] = b"!" * len(package.data)
    made = Tools(context, Packages(context, locked=True))
    with pytest.raises(Exception, match="expected sha256"):
        made.unpacked(recipe, HOST, HOST)
    assert not [each for each in (context.work / "tools").iterdir() if each.is_dir()]


def test_qemu_of_the_host_is_preferred(context: Context, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("qemu-system-aarch64", "qemu-img"):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\n")
        (tmp_path / "bin" / name).chmod(0o755)
    found = Tools(context, Packages(context)).qemu(Architecture.ARM64)
    assert found.root is None
    assert found.program("qemu-system-aarch64") == tmp_path / "bin/qemu-system-aarch64"
    with pytest.raises(PlatformError, match="qemu-nbd"):
        found.program("qemu-nbd")


@pytest.mark.parametrize(
    ("code", "variables", "others"),
    [
        ("OVMF/OVMF_CODE_4M.fd", "OVMF/OVMF_VARS_4M.fd", ["OVMF/OVMF_CODE_4M.ms.fd", "OVMF/OVMF_CODE.fd"]),
        ("edk2/x64/OVMF_CODE.4m.fd", "edk2/x64/OVMF_VARS.4m.fd", ["OVMF/OVMF_CODE.fd"]),
        ("qemu/edk2-x86_64-code.fd", "qemu/edk2-i386-vars.fd", ["qemu/edk2-aarch64-code.fd"]),
    ],
)
def test_firmware_is_found_where_distributions_put_it(
    tmp_path: Path, code: str, variables: str, others: list[str]
) -> None:
    for name in (code, variables, *others):
        path = tmp_path / "usr/share" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    found = tools.find_firmware(tmp_path, Architecture.AMD64)
    assert found == tools.Firmware(code=tmp_path / "usr/share" / code, variables=tmp_path / "usr/share" / variables)
    assert tools.find_firmware(tmp_path, Architecture.ARM64) is None
    assert tools.find_firmware(tmp_path, Architecture.AMD64, secure=True) is None


def test_secure_boot_has_firmware_of_its_own(tmp_path: Path) -> None:
    for name in ("OVMF_CODE_4M.fd", "OVMF_CODE_4M.secboot.fd", "OVMF_VARS_4M.fd"):
        path = tmp_path / "usr/share/OVMF" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    found = tools.find_firmware(tmp_path, Architecture.AMD64, secure=True)
    assert found is not None
    assert found.code.name == "OVMF_CODE_4M.secboot.fd"


def test_the_compilers_identity_is_its_lock_or_what_replaces_it(context: Context) -> None:
    made = Tools(context, Packages(context))
    shipped = Recipe.load(catalog.directory("cc")).base_hash
    assert made.compiler_id() == f"cc:{shipped}"
    other = Context.from_environment({**context.environment, "MOBY_CC": "musl-gcc"})
    assert Tools(other, Packages(other)).compiler_id() == "MOBY_CC=musl-gcc"
