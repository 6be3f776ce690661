from __future__ import annotations

import hashlib
import io
from dataclasses import replace

import pytest

from moby.errors import IntegrityError
from moby.formats.entry import Entry, Kind, directory, file, symlink
from moby.rootfs.constants import FIXED_MTIME_S
from moby.rootfs.contents import HOSTS, NO_RESOLVER, Resolver, contents
from tests.support.tree import Node, unpack


def made(*entries: Entry, prefix: str = "", resolver: Resolver = Resolver.TEXT) -> dict[str, Node]:
    return unpack([*map(directory, parents(prefix)), *contents(entries, prefix, resolver, origin="init[0]")])


def parents(prefix: str) -> list[str]:
    parts = prefix.split("/") if prefix else []
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def text(data: bytes, mode: int = 0o644) -> Node:
    return Node("file", mode, 0, 0, FIXED_MTIME_S, hashlib.sha256(data).hexdigest())


FOLDER = Node("dir", 0o755, 0, 0, FIXED_MTIME_S)


def test_an_empty_image_gets_what_every_root_needs() -> None:
    assert made() == {
        "dev": FOLDER,
        "dev/pts": FOLDER,
        "dev/shm": FOLDER,
        "etc": FOLDER,
        "etc/hosts": text(HOSTS),
        "etc/mtab": Node("symlink", 0o755, 0, 0, FIXED_MTIME_S, "/proc/mounts"),
        "etc/resolv.conf": text(NO_RESOLVER),
        "proc": FOLDER,
        "sys": FOLDER,
    }
    assert (len(HOSTS), len(NO_RESOLVER)) == (160, 29)


def test_an_init_image_gets_a_link_to_the_resolver_file() -> None:
    link = Node("symlink", 0o644, 0, 0, FIXED_MTIME_S, "/run/resolvconf/resolv.conf")
    assert made(resolver=Resolver.LINK)["etc/resolv.conf"] == link


@pytest.mark.parametrize("kind", [Kind.FILE, Kind.SYMLINK])
def test_hosts_and_resolver_of_the_image_are_replaced_whatever_they_are(kind: Kind) -> None:
    tree = made(
        directory("etc"),
        Entry(path="etc/hosts", kind=kind, target="x" if kind is Kind.SYMLINK else ""),
        Entry(path="etc/resolv.conf", kind=kind, target="x" if kind is Kind.SYMLINK else ""),
    )
    assert tree["etc/hosts"] == text(HOSTS)
    assert tree["etc/resolv.conf"] == text(NO_RESOLVER)


def test_what_a_container_engine_left_is_dropped() -> None:
    names = (".dockerenv", "Dockerfile", "dev/console", "etc/hostname")
    tree = made(directory("dev"), directory("etc"), *(file(name, b"x") for name in names), file("kept", b"x"))
    assert not tree.keys() & set(names)
    assert "kept" in tree


def test_mount_points_get_the_usual_mode_and_the_fixed_time() -> None:
    odd = [replace(directory(name, mode=0o700, mtime_s=5), uid=7) for name in ("dev", "etc", "proc", "sys")]
    tree = made(*odd)
    assert {tree[name] for name in ("dev", "etc", "proc", "sys")} == {FOLDER}


def test_mtab_of_the_image_stays_with_the_fixed_time() -> None:
    tree = made(directory("etc"), symlink("etc/mtab", "../proc/self/mounts", mtime_s=5))
    assert tree["etc/mtab"] == Node("symlink", 0o777, 0, 0, FIXED_MTIME_S, "../proc/self/mounts")


def test_devices_owners_modes_and_times_stay() -> None:
    null = Entry(path="dev/null", kind=Kind.CHAR, mode=0o666, uid=1, gid=2, mtime_s=3, major=1, minor=3)
    assert made(directory("dev"), null)["dev/null"] == Node("char", 0o666, 1, 2, 3, "1:3")


def test_everything_goes_below_the_prefix() -> None:
    linked = Entry(path="b", kind=Kind.HARDLINK, target="a")
    tree = made(file("a", b"1"), linked, symlink("c", "/a"), prefix="containers/x/lower")
    assert tree["containers/x/lower/a"] == tree["containers/x/lower/b"]
    assert tree["containers/x/lower/c"].content == "/a"
    assert "containers/x/lower/proc" in tree
    assert "proc" not in tree


def test_another_name_of_a_dropped_file_keeps_its_content() -> None:
    host = file("etc/hostname", b"host\n")
    tree = made(directory("etc"), host, Entry(path="copy", kind=Kind.HARDLINK, target="etc/hostname"))
    assert tree["copy"].content == hashlib.sha256(b"host\n").hexdigest()
    assert "etc/hostname" not in tree


def test_another_name_of_a_dropped_large_file_is_refused() -> None:
    host = Entry(path="etc/hostname", kind=Kind.FILE, size=2, data=io.BytesIO(b"ab"))
    with pytest.raises(IntegrityError, match="left out"):
        made(directory("etc"), host, Entry(path="copy", kind=Kind.HARDLINK, target="etc/hostname", origin="init[1]"))


def test_nothing_comes_twice() -> None:
    image = [directory("dev"), directory("etc"), file("etc/hosts", b"x"), directory("proc"), directory("sys")]
    paths = [entry.path for entry in contents(image, "", Resolver.TEXT, origin="")]
    assert len(paths) == len(set(paths))
