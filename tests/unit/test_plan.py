from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby.config.load import parse
from moby.config.model import Config
from moby.errors import ConfigError, MobyError, RegistryError
from moby.formats.entry import Kind
from moby.oci.manifest import ImageConfig, Platform
from moby.plan import ContainerPlan, container_ids, images, plan
from tests.support import errorcases
from tests.support.plans import Shelf, labelled, planned


def failures(text: str, shelf: Shelf | None = None) -> list[str]:
    with pytest.raises(MobyError) as caught:
        plan(parse(text, file="f.yml"), shelf or Shelf(), architecture="amd64")
    return [str(each) for each in caught.value.each]


def mounts(container: ContainerPlan) -> dict[str, str]:
    return {each["destination"]: each["source"] for each in json.loads(container.config_json)["mounts"]}


def test_the_kernels_names_have_defaults() -> None:
    kernel = planned("kernel: {image: k}").kernel
    assert kernel
    assert str(kernel.image.reference) == "docker.io/library/k"
    assert (kernel.cmdline, kernel.binary, kernel.tar, kernel.ucode) == ("", "kernel", "kernel.tar", None)
    for none in ("none", '""'):
        kernel = planned(f"kernel: {{image: k, binary: b, cmdline: c, tar: {none}, ucode: u}}").kernel
        assert kernel
        assert (kernel.cmdline, kernel.binary, kernel.tar, kernel.ucode) == ("c", "b", None, "u")


@pytest.mark.parametrize("text", ["init: [a]", "kernel: {cmdline: x}", "kernel: {image: ''}"])
def test_without_an_image_there_is_no_kernel(text: str) -> None:
    assert planned(text).kernel is None


def test_init_images_keep_their_order_and_repetitions() -> None:
    made = planned("init: [b, a, b]", architecture="arm64")
    assert [str(each.image.reference).rsplit("/", 1)[1] for each in made.init] == ["b", "a", "b"]
    assert {str(each.image.platform) for each in made.init} == {"linux/arm64"}
    assert made.architecture == "arm64"


def test_each_image_is_resolved_once_for_its_platform() -> None:
    text = """
kernel: {image: k}
init: [i, docker.io/library/i]
services: [{name: s, image: i}]
volumes:
  - {name: v, image: v, format: oci, platforms: [linux/arm64, linux/amd64]}
  - {name: w, image: w, platforms: [x/y]}
"""
    shelf = Shelf()
    plan(parse(text), shelf, architecture="amd64")
    library = "docker.io/library"
    assert shelf.asked == [
        *((f"{library}/{name}", "linux/amd64") for name in "ki"),
        *((f"{library}/v", platform) for platform in ("linux/arm64", "linux/amd64")),
        (f"{library}/w", "linux/amd64"),
    ]
    target = Platform(os="linux", architecture="amd64")
    assert {(str(reference), str(platform)) for _, reference, platform in images(parse(text), target)} == set(
        shelf.asked
    )


def test_an_image_that_is_not_found_is_placed() -> None:
    config = parse("init:\n  - there\n  - gone\n", file="f.yml")
    with pytest.raises(RegistryError) as caught:
        plan(config, Shelf({"there": ImageConfig()}, everything=False), architecture="amd64")
    assert str(caught.value) == "f.yml:3:5 (init[1]): image docker.io/library/gone not found (check the name)"


def test_all_missing_images_are_told_each_at_its_first_place_and_other_faults_with_them() -> None:
    text = "init: [gone]\nservices:\n  - {name: s, image: gone}\n  - {name: t, image: away}\n"
    assert failures(text, Shelf(everything=False)) == [
        "f.yml:1:8 (init[0]): image docker.io/library/gone not found (check the name)",
        "f.yml:4:22 (services[1] 't': image): image docker.io/library/away not found (check the name)",
    ]
    labels = {"bad": labelled("pids: host"), "worse": labelled("{x: y, z: 1}")}
    found = failures(
        "services: [{name: s, image: worse}, {name: t, image: bad}, {name: u, image: gone}]",
        Shelf(labels, everything=False),
    )
    assert [each.split(" (did")[0].rpartition(": ")[2] for each in found] == [
        "unknown key 'x' (docs/yaml.md lists the keys)",
        "unknown key 'z' (docs/yaml.md lists the keys)",
        "unknown key 'pids'",
        "image docker.io/library/gone not found (check the name)",
    ]


def test_directories_are_numbered_but_those_of_services() -> None:
    text = "onboot: [{name: a, image: x}, {name: a, image: x}]\nonshutdown: [{name: z, image: x}]\n"
    made = planned(text + "services: [{name: a, image: x}]")
    assert [each.directory for each in made.containers] == [
        "containers/onboot/000-a",
        "containers/onboot/001-a",
        "containers/onshutdown/000-z",
        "containers/services/a",
    ]
    assert [(each.section, each.index) for each in made.containers] == [
        *(("onboot", 0), ("onboot", 1), ("onshutdown", 0), ("services", 0)),
    ]


def test_numbers_grow_past_three_digits() -> None:
    entries = ", ".join(["{name: a, image: x}"] * 1001)
    assert planned(f"onboot: [{entries}]").containers[1000].directory == "containers/onboot/1000-a"


def test_containers_with_one_image_share_its_first_root() -> None:
    text = """
onboot: [{name: a, image: x, readonly: true}, {name: b, image: y}]
services:
  - {name: c, image: docker.io/library/x}
  - {name: d, image: x, readonly: true}
  - {name: e, image: y}
  - {name: f, image: "x:1"}
"""
    made = planned(text).containers
    assert [(each.unpack, each.root_directory) for each in made] == [
        (True, "containers/onboot/000-a/rootfs"),
        (True, "containers/onboot/001-b/lower"),
        (False, "containers/onboot/000-a/rootfs"),
        (False, "containers/onboot/000-a/rootfs"),
        (False, "containers/onboot/001-b/lower"),
        (True, "containers/services/f/lower"),
    ]
    overlay = json.loads(made[2].runtime_json)["mounts"][2]
    assert overlay["options"][0] == "lowerdir=/containers/onboot/000-a/rootfs"
    bound = json.loads(made[3].runtime_json)["mounts"]
    assert bound == [
        {
            "destination": "/containers/services/d/rootfs",
            "source": "/containers/onboot/000-a/rootfs",
            "options": ["bind"],
        }
    ]


def test_a_label_can_make_a_container_readonly() -> None:
    (container,) = planned("services: [{name: s, image: x}]", {"x": labelled("readonly: true")}).containers
    assert (container.readonly, container.root_directory) == (True, "containers/services/s/rootfs")


SECTIONS = st.fixed_dictionaries(
    {section: st.lists(st.sampled_from("abcd"), max_size=4) for section in ("onboot", "onshutdown")}
    | {"services": st.lists(st.sampled_from("abcd"), max_size=4, unique=True)}
)


@given(SECTIONS)
def test_ids_count_from_100_over_all_sections_and_the_last_of_a_name_wins(sections: dict[str, list[str]]) -> None:
    text = json.dumps({section: [{"name": n, "image": "x"} for n in names] for section, names in sections.items()})
    names = [*sections["onboot"], *sections["onshutdown"], *sections["services"]]
    expected = {name: 100 + index for index, name in enumerate(names)}
    assert container_ids(parse(text)) == expected
    for name in expected:
        files = [{"path": "f", "contents": "", "uid": name}]
        (file,) = planned(json.dumps({**json.loads(text), "files": files})).files
        assert file.uid == expected[name]


def test_volumes_in_binds_become_directories() -> None:
    text = """
services:
  - {name: a, image: x, binds: ["v:/a", "/h:/b", "ro_1:/c:ro"]}
  - {name: b, image: x, binds.add: ["v:/a:rw,rslave"]}
  - {name: c, image: x, mounts: [{type: bind, source: v, destination: /a}, {type: tmpfs, source: v, destination: /b}]}
volumes: [{name: v}, {name: ro_1, readonly: true}]
"""
    a, b, c = planned(text, {"x": labelled("{binds: ['raw:/l']}")}).containers
    merged = "/containers/volumes/v/merged"
    assert {path: source for path, source in mounts(a).items() if path in ("/a", "/b", "/c", "/l")} == {
        **{"/a": merged, "/b": "/h", "/c": "/containers/volumes/ro_1/merged"},
    }
    assert (mounts(b)["/a"], mounts(b)["/l"]) == (merged, "raw")
    assert (mounts(c)["/a"], mounts(c)["/b"]) == (merged, "v")
    (bind,) = (each for each in json.loads(b.config_json)["mounts"] if each["destination"] == "/a")
    assert bind["options"] == ["rw", "rslave", "rbind"]


def test_an_unknown_volume_of_a_configuration_made_by_code_is_refused() -> None:
    config = Config.model_validate({"services": ({"name": "s", "image": "x", "binds": ("v:/x",)},)})
    with pytest.raises(ConfigError, match="volume 'v' is not declared"):
        plan(config, Shelf(), architecture="amd64")


def test_volumes() -> None:
    text = """
volumes:
  - {name: blank}
  - {name: files, image: x, readonly: true}
  - {name: all, image: x, format: oci}
  - {name: some, image: x, format: oci, platforms: [linux/arm64, linux/arm/v7]}
  - {name: nothing, format: oci}
"""
    blank, files, everything, some, nothing = planned(text).volumes
    assert (blank.directory, blank.reference, blank.images) == ("containers/volumes/blank", None, ())
    assert (files.format, files.readonly, len(files.images), files.platforms) == ("filesystem", True, 1, ())
    assert (everything.format, len(everything.images), everything.platforms) == ("oci", 1, ())
    assert [str(each.platform) for each in some.images] == ["linux/arm64", "linux/arm/v7"]
    assert [str(each) for each in some.platforms] == ["linux/arm64", "linux/arm/v7"]
    assert (nothing.reference, nothing.images) == (None, ())


def test_files() -> None:
    text = """
files:
  - {path: /etc//x, contents: "ü"}
  - {path: d, directory: true, symlink: t}
  - {path: e, directory: true, mode: "1777"}
  - {path: l, symlink: ../t, contents: ignored}
  - {path: m, contents: "", mode: "04755", uid: 5, gid: -1}
"""
    made = planned(text).files
    assert [(each.path, each.kind, each.mode, each.data, each.target) for each in made] == [
        ("etc/x", Kind.FILE, 0o600, "ü".encode(), ""),
        ("d", Kind.DIRECTORY, 0o700, b"", ""),
        ("e", Kind.DIRECTORY, 0o1777, b"", ""),
        ("l", Kind.SYMLINK, 0o600, b"", "../t"),
        ("m", Kind.FILE, 0o4755, b"", ""),
    ]
    assert (made[4].uid, made[4].gid) == (5, 4294967295)


def test_sources_start_from_here_and_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").write_text("1")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "key").write_text("2")
    monkeypatch.chdir(tmp_path)
    config = parse(
        "files: [{path: a, source: here}, {path: b, source: ~/key}, {path: c, source: gone, optional: true}]"
    )
    made = plan(config, Shelf(), architecture="amd64", home=tmp_path / "home")
    assert [(each.index, each.data) for each in made.files] == [(0, Path("here")), (1, tmp_path / "home" / "key")]


def test_missing_sources_and_faulty_labels_are_reported_together(tmp_path: Path) -> None:
    text = f"""\
services:
  - {{name: a, image: bad}}
  - {{name: b, image: bad}}
  - {{name: c, image: byname}}
  - {{name: d, image: fine}}
files:
  - {{path: x, source: {tmp_path}/gone}}
  - {{path: y, source: {tmp_path}, optional: true}}
"""
    labels = {"bad": labelled("{pids: host, capabilities: [X]}"), "byname": labelled("gid: nobody")}
    found = failures(text, Shelf(labels))
    label = "f.yml:2:22 (services[0] 'a': image): image docker.io/library/bad, label org.mobyproject.config"
    assert [
        each.split(" (write")[0].split(" (the names")[0].split(" (paths")[0].split(" (name")[0] for each in found
    ] == [
        f"{label}:1:2: unknown key 'pids' (did you mean 'pid'?)",
        f"{label}:1:29 (capabilities[0]): unknown capability 'X'",
        "f.yml:4:5 (services[2] 'c'): cannot find id 'nobody', which its image's label wants",
        f"f.yml:7:23 (files[0] 'x': source): cannot read source '{tmp_path}/gone': No such file or directory",
        f"f.yml:8:23 (files[1] 'y': source): source '{tmp_path}' is not a regular file",
    ]


def test_all_ids_that_a_label_wants_and_nobody_has_are_told() -> None:
    labels = {"x": labelled("{uid: a, gid: b, additionalGids: [c, 5, root]}")}
    wanted = "which its image's label wants"
    found = failures("services: [{name: s, image: x}]", Shelf(labels))
    assert [each.split(" (write")[0] for each in found] == [
        f"f.yml:1:12 (services[0] 's'): cannot find id '{name}', {wanted}" for name in "abc"
    ]


def test_no_registry_is_asked_for_what_stands_in_for_an_unknown_component() -> None:
    text = """
init: ["@pkg:nope"]
volumes: [{name: a, image: "@pkg:nope", format: oci, platforms: [linux/arm64, linux/amd64]}]
"""
    shelf, found = Shelf(), errorcases.draft({"f.yml": text})
    with pytest.raises(ConfigError, match="no component 'nope'"):
        plan(found.config, shelf, architecture="amd64", known=found.faults)
    assert not shelf.asked


def test_metadata_of_the_plan_is_the_configuration_in_yaml() -> None:
    made = planned("init: [a]\nfiles: [{path: m, metadata: yaml}]")
    assert made.metadata == made.files[0].data
    assert b"- docker.io/library/a\n" in made.metadata


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("trust: {org: [a]}", "f.yml:1:8 (trust): trust names no keys, so no signature is checked"),
        ("services: [{name: s, image: x, net: nwe}]", "'nwe' is taken for the path of a namespace"),
        (
            "services: [{name: s, image: x, hostname: h}]",
            "hostname 'h' needs uts: new, or the container does not start",
        ),
        ("files: [{path: etc/x, contents: y}]", "closes /etc to everybody but root; list etc as a directory first"),
        ("init: [a]\n---\n", "f.yml: only the first of its YAML documents is used"),
    ],
)
def test_warnings(text: str, warning: str) -> None:
    (found,) = plan(parse(text, file="f.yml"), Shelf(), architecture="amd64").warnings
    assert found.endswith(warning)


@pytest.mark.parametrize(
    "text",
    [
        "trust: {keys: [k]}",
        "services: [{name: s, image: x, net: /run/netns/x, pid: host, uts: new, hostname: h}]",
        "files: [{path: etc/x, contents: y, mode: '0644'}]",
        "files: [{path: etc, directory: true, mode: '0755'}, {path: etc/x, contents: y}]",
        "files: [{path: mine/x, contents: y}]",
        "init: [a]\nfiles: [{path: etc/x, contents: y}]",
    ],
)
def test_no_warnings(text: str) -> None:
    assert planned(text).warnings == ()


def test_the_origin_of_each_setting_is_kept() -> None:
    image = labelled("{pid: host}", cmd=("c",))
    (container,) = planned("services: [{name: s, image: x, net: new}]", {"x": image}).containers
    origins = {key: container.effective.origins[key][0].value for key in ("net", "pid", "command", "env")}
    assert origins == {"net": "yaml", "pid": "label", "command": "image", "env": "default"}
