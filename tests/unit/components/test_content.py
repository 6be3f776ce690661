"""What maintainer scripts would have made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from moby.components import content
from moby.components.model import Group, User
from moby.components.recipe import Recipe
from moby.components.tree import Tree
from moby.errors import ConfigError
from moby.formats.entry import Entry, Kind, file


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    with Tree(tmp_path) as made:
        yield made


def texts(entries: Iterator[Entry]) -> dict[str, str]:
    return {entry.path: entry.data.decode() if isinstance(entry.data, bytes) else "" for entry in entries}


def test_accounts_are_the_recipes_beside_root_and_nobody(tree: Tree) -> None:
    users = (User(name="www-data", uid=33, gid=33, home="/var/www"), User(name="log", uid=34, gid=33))
    found = texts(content.accounts(tree, users, (Group(name="adm", gid=4, members=("log",)),)))
    assert found["etc/passwd"].splitlines() == [
        "root:x:0:0:root:/root:/bin/sh",
        "www-data:x:33:33::/var/www:/usr/sbin/nologin",
        "log:x:34:33::/nonexistent:/usr/sbin/nologin",
        "nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin",
    ]
    assert found["etc/group"].splitlines() == ["root:x:0:", "www-data:x:33:", "nobody:x:65534:", "adm:x:4:log"]
    assert found["etc/shadow"].splitlines()[0] == "root:*:::::::"


def test_a_recipe_may_change_root(tree: Tree) -> None:
    users = (User(name="root", uid=0, gid=0, home="/", shell="/bin/false"),)
    assert texts(content.accounts(tree, users, ()))["etc/passwd"].splitlines()[0] == "root:x:0:0::/:/bin/false"


def test_base_accounts_of_debian_are_kept(tree: Tree) -> None:
    tree.add([file("usr/share/base-passwd/passwd.master", b"root:*:0:0:root:/root:/bin/bash\n")])
    tree.add([file("usr/share/base-passwd/group.master", b"root:*:0:\nstaff:*:50:\n")])
    found = texts(content.accounts(tree, (User(name="a", uid=1000, gid=50),), ()))
    assert found["etc/passwd"].splitlines() == [
        "root:x:0:0:root:/root:/bin/bash",
        "a:x:1000:50::/nonexistent:/usr/sbin/nologin",
    ]
    assert found["etc/group"].splitlines() == ["root:x:0:", "staff:x:50:"]


def test_shadow_is_private(tree: Tree) -> None:
    modes = {entry.path: entry.mode for entry in content.accounts(tree, (), ())}
    assert modes == {"etc/group": 0o644, "etc/passwd": 0o644, "etc/shadow": 0o600}


def test_certificates_are_bundled_by_name(tree: Tree) -> None:
    tree.add([file("usr/share/ca-certificates/mozilla/b.crt", b"B\n\n"), file("usr/share/ca-certificates/a.crt", b"A")])
    found = texts(content.certificates(tree, where="x"))
    assert found["etc/ssl/certs/ca-certificates.crt"] == "A\nB\n"


def test_certificates_without_the_package_are_an_error(tree: Tree) -> None:
    with pytest.raises(ConfigError) as caught:
        list(content.certificates(tree, where="build.yml"))
    assert caught.value.fix == "add ca-certificates to packages"


def test_prose_goes_and_licences_stay(tree: Tree) -> None:
    for path in ("usr/share/doc/a/copyright", "usr/share/doc/a/README", "usr/share/man/man1/a.1.gz", "usr/share/a/x"):
        tree.add([file(path, b"")])
    content.without_prose(tree, ())
    assert [path for path in tree.paths() if tree[path].kind is Kind.FILE] == [
        "usr/share/a/x",
        "usr/share/doc/a/copyright",
    ]


def test_prose_that_is_asked_for_stays(tree: Tree) -> None:
    tree.add([file("usr/share/man/man1/a.1.gz", b"")])
    content.without_prose(tree, ("usr/share/man/**",))
    assert "usr/share/man/man1/a.1.gz" in tree


def test_files_of_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "run.sh").chmod(0o700)
    (tmp_path / "build.yml").write_text(
        "image: x\n"
        "files:\n"
        "  - {path: etc/motd, contents: hi}\n"
        "  - {path: /etc/empty, contents: '', mode: '0600', uid: 5, gid: 6}\n"
        "  - {path: usr/bin/run, source: run.sh}\n"
        "  - {path: bin/run, symlink: ../usr/bin/run}\n"
        "  - {path: var/lib/x, directory: true, mode: '0700'}\n"
    )
    found = {entry.path: entry for entry in content.files(Recipe.load(tmp_path))}
    assert (found["etc/motd"].data, found["etc/motd"].mode) == (b"hi", 0o644)
    empty = found["etc/empty"]
    assert (empty.data, empty.mode, empty.uid, empty.gid) == (b"", 0o600, 5, 6)
    assert (found["usr/bin/run"].data, found["usr/bin/run"].mode) == (b"#!/bin/sh\n", 0o755)
    assert (found["bin/run"].kind, found["bin/run"].target) == (Kind.SYMLINK, "../usr/bin/run")
    assert (found["var/lib/x"].kind, found["var/lib/x"].mode) == (Kind.DIRECTORY, 0o700)


def test_a_package_leaves_a_record_for_scanners() -> None:
    fields = {"Package": "a", "Version": "1", "Architecture": "amd64", "Description": "an a\n more", "Depends": "b"}
    entry = content.record(fields)
    assert entry.path == "var/lib/dpkg/status.d/a"
    assert entry.data == (
        b"Package: a\nVersion: 1\nArchitecture: amd64\nStatus: install ok installed\nDescription: an a\n"
    )
