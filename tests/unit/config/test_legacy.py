"""Files of March 2017 mean what they meant."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby.config.fields import CAPABILITIES
from moby.config.load import parse
from moby.config.model import Config
from moby.errors import ConfigError
from moby.oci.manifest import ImageConfig
from moby.plan import Plan, plan
from tests.support.plans import Shelf, planned

IMAGE = ImageConfig(
    entrypoint=("/entry", "--"), cmd=("default",), env=("PATH=/bin",), working_dir="/work", user="33:34"
)
BARE = ImageConfig(entrypoint=("/entry", "--"), cmd=("default",))

# What one entry says, by the row of the old language that it shows.
ROWS = {
    "implied": ("", IMAGE),
    "read-only": ("read_only: true", BARE),
    "read-only-off": ("read_only: false", BARE),
    "network-mode-host": ("network_mode: host", BARE),
    "network-mode-none": ("network_mode: none", BARE),
    "pid-host": ("pid: host", BARE),
    "ipc-host": ("ipc: host", BARE),
    "uts-host": ("uts: host", BARE),
    "oom-score-adj": ("oom_score_adj: -800", BARE),
    "capabilities": ("capabilities: [CAP_CHOWN, net_admin, SYS_ADMIN]", BARE),
    "capabilities-all": ("capabilities: [ALL, CHOWN]", BARE),
    "capabilities-every": (f"capabilities: [{', '.join(CAPABILITIES[:38])}]", BARE),
    "binds": ("binds: ['/a:/a', '/b:/b:ro', '/c:/c:rw']", BARE),
    "binds-propagation": ("binds: ['/a:/a:rshared', '/b:/b:ro,slave', '/c:/c:z,private']", BARE),
    "binds-of-names": ("binds: ['/x/hosts:/etc/hosts', '/x/resolv:/etc/resolv.conf:ro', '/dev:/dev/shm']", BARE),
    "command": ("command: [own, words]", BARE),
    "command-empty": ("command: []", BARE),
    "user-by-hand": ("uid: 5, gid: 6", IMAGE),
}


def old(text: str, image: ImageConfig = BARE, section: str = "system") -> Plan:
    return planned(f"{section}: [{{name: s, image: x, {text}}}]", {"x": image})


def notices(text: str) -> tuple[str, ...]:
    return parse(text, file="moby.yml").notices


def failures(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        plan(parse(text, file="moby.yml"), Shelf({"x": IMAGE}), architecture="amd64")
    return [str(each) for each in (caught.value, *caught.value.others)]


@pytest.mark.parametrize("row", ROWS)
def test_a_container_runs_as_it_did(row: str, golden: Callable[[str, str], None]) -> None:
    text, image = ROWS[row]
    golden(f"legacy/{row}.config.json", old(text, image).containers[0].config_json.decode() + "\n")


def test_system_and_daemon_are_onboot_and_services() -> None:
    made = planned("system: [{name: a, image: x}, {name: b, image: x}]\ndaemon: [{name: c, image: x}]")
    assert [each.directory for each in made.containers] == [
        "containers/onboot/000-a",
        "containers/onboot/001-b",
        "containers/services/c",
    ]


def test_init_is_a_text_and_the_kernel_is_called_bzimage() -> None:
    made = planned("kernel: {image: k, cmdline: c}\ninit: i\nsystem: []")
    assert [str(each.image.reference) for each in made.init] == ["docker.io/library/i"]
    assert made.kernel
    assert (made.kernel.binary, made.kernel.tar, made.kernel.cmdline) == ("bzImage", "kernel.tar", "c")


@pytest.mark.parametrize("image", ["localhost/moby/kernel:1", "@pkg:kernel"])
def test_a_kernel_of_our_own_keeps_its_name(image: str) -> None:
    config = parse(f"kernel: {{image: '{image}'}}\ninit: i", templates=lambda *_: "localhost/moby/kernel:1")
    assert config.kernel and config.kernel.binary == ""


def test_a_binary_that_is_named_stays() -> None:
    config = parse("kernel: {image: k, binary: vmlinuz}\ndaemon: []")
    assert config.kernel and config.kernel.binary == "vmlinuz"


def test_files_are_as_they_were() -> None:
    (file,) = planned("daemon: []\nfiles: [{path: /etc/x, contents: hi}]").files
    assert (file.path, file.mode, file.uid, file.data) == ("etc/x", 0o600, 0, b"hi")


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ("kernel+initrd", "kernel+initrd"),
        ("iso-bios", "iso-bios"),
        ("iso-efi", "iso-efi"),
        ("gce-img", "gcp"),
        ("gce-storage", "gcp"),
        ("gce", "gcp"),
        ("qcow", "qcow2-bios"),
        ("qcow2", "qcow2-bios"),
        ("vhd", "vhd"),
    ],
)
def test_every_format_of_the_time_has_one_of_today(then: str, now: str) -> None:
    (output,) = parse(f"outputs: [{{format: '{then}'}}]").outputs
    assert output.modern == now


def test_the_matching_push_is_known() -> None:
    text = (
        "outputs: [{format: gce, project: p, bucket: b c, family: f, public: true, replace: true}, {format: gce-img}]"
    )
    first, second = parse(text).outputs
    assert first.push("x.img.tar.gz") == "moby push gcp --project p --bucket 'b c' --family f --public x.img.tar.gz"
    assert second.push("x.img.tar.gz") == ""


def test_outputs_of_several_files_add_up_and_keep_their_places() -> None:
    from moby.config.merge import merge

    first, second = (parse(f"outputs: [{{format: {name}}}]", file=f"{name}.yml") for name in ("vhd", "gce"))
    both = merge(first, second)
    assert [each.format for each in both.outputs] == ["vhd", "gce"]
    assert both.places.where(("outputs", 1, "format")) == "gce.yml:1:20 (outputs[0].format)"


def test_a_file_of_today_with_outputs_keeps_its_meaning() -> None:
    config = parse("init: [i]\nservices: [{name: s, image: x}]\noutputs: [{format: gce}]")
    (service,) = config.services or ()
    assert (service.net, service.as_docker, config.kernel) == ("", False, None)
    assert [each.modern for each in config.outputs] == ["gcp"]


def test_notices_show_the_modern_spelling(golden: Callable[[str, str], None]) -> None:
    text = """\
kernel:
  image: mobylinux/kernel:4.9.x
init: mobylinux/init:1
system:
  - name: a
    image: x
    network_mode: host
    capabilities: [SYS_ADMIN]
    read_only: true
daemon:
  - name: b
    image: x
    read_only: true
    oom_score_adj: 5
    binds: ["/a:/b"]
outputs:
  - format: gce
"""
    golden("legacy/notices.txt", "\n".join(notices(text)) + "\n")


@pytest.mark.parametrize("text", ["init: [i]", "services: []", "kernel: {image: k}", "init: i\nservices: []"])
def test_other_files_are_not_of_that_time(text: str) -> None:
    try:
        assert notices(text) == ()
    except ConfigError as error:
        assert "expected a list, got the text 'i'" in str(error)


def test_messages_use_the_words_of_the_file(golden: Callable[[str, str], None]) -> None:
    text = """\
init: Upper
system:
  - name: a
    image: x
    network_mode: bridge0
    net: new
  - name: b
    image: x
    ipc: container:a
    oom_score_adj: high
    binds: [/a]
    capabilities: [FLY]
    read_only: 1
  - image: x
daemon: [{name: c, image: x, read_only: true, readonly: true}]
outputs:
  - format: [vhd]
  - bucket: b
"""
    golden("legacy/errors.txt", "\n".join(failures(text)) + "\n")


def test_unknown_keys_are_left_out_as_they_were_and_it_is_said() -> None:
    text = """\
verion: 1
kernel: {image: k, cmdine: x}
system:
  - {name: a, image: x, netwrk_mode: host, environment: [A=b]}
  - {name: b, image: x, environment: [A=b]}
files:
  - {path: a, contents: x, owner: me}
outputs:
  - {format: vhd, size: 5}
"""
    config = parse(text, file="moby.yml")
    assert [entry.name for entry in config.onboot or ()] == ["a", "b"]
    assert [each.format for each in config.outputs] == ["vhd"]
    assert [each for each in config.notices if "unknown key" in each] == [
        "moby.yml:1:1: unknown key 'verion' is left out, as it was then",
        "moby.yml:2:20: unknown key 'cmdine' is left out, as it was then; was it 'cmdline'?",
        "moby.yml:4:25: unknown key 'netwrk_mode' is left out, as it was then; was it 'network_mode'?",
        "moby.yml:4:44: unknown key 'environment' is left out, as it was then",
        "moby.yml:5:25: unknown key 'environment' is left out, as it was then",
        "moby.yml:7:28: unknown key 'owner' is left out, as it was then",
        "moby.yml:9:19: unknown key 'size' is left out, as it was then",
    ]


def test_values_have_the_types_of_the_time() -> None:
    text = """\
kernel: {image: k, cmdline: 1}
system:
  - {name: 007, image: x, command: [sleep, 1.50, true], read_only: yes}
  - {name: b, image: x, command: [sleep, 1.50], read_only: yes}
files: [{path: 1, contents: 0644}, {path: b, contents: no}]
outputs: [{format: gce, public: on, replace: n}]
"""
    config = parse(text, file="moby.yml")
    entry, _ = config.onboot or ()
    assert (entry.name, entry.command, entry.readonly) == ("007", ("sleep", "1.50", "true"), True)
    assert config.kernel and config.kernel.cmdline == "1"
    assert [(file.path, file.contents) for file in config.files or ()] == [("1", "0644"), ("b", "no")]
    assert (config.outputs[0].public, config.outputs[0].replace) == (True, False)
    assert [
        each.removeprefix("moby.yml:")
        for each in config.notices
        if each.endswith(" now") and " is written " in each and "docker" not in each
    ] == [
        '1:20: cmdline: 1 is written "1" now',
        '3:6: name: 007 is written "007" now',
        '3:44: command: 1.50 is written "1.50" now',
        '3:50: command: true is written "true" now',
        "3:57: read_only: yes is written true now",
        '4:42: command: 1.50 is written "1.50" now',
        "4:49: read_only: yes is written true now",
        '5:10: path: 1 is written "1" now',
        '5:19: contents: 0644 is written "0644" now',
        "6:25: public: on is written true now",
        "6:37: replace: n is written false now",
    ]


@pytest.mark.parametrize("key", ["verion: 1", "files: [{path: a, contents: x, owner: me}]", "kernel: {cmdine: x}"])
def test_unknown_keys_of_a_file_of_today_are_refused_beside_outputs(key: str) -> None:
    with pytest.raises(ConfigError, match="unknown key"):
        parse(f"services: []\noutputs: [{{format: vhd}}]\n{key}")


def test_nothing_is_taken_for_text_in_a_file_of_today() -> None:
    with pytest.raises(ConfigError, match="expected text, got the number 10"):
        parse("onboot: [{name: a, image: x, command: [sleep, 10]}]")


def test_a_section_has_one_name() -> None:
    found = failures("system: [{name: a, image: x}]\nonboot: []")
    assert found == ["moby.yml:1:9 (system): system and onboot are the same section (keep onboot)"]


def test_the_images_user_is_not_guessed() -> None:
    with pytest.raises(ConfigError, match="the image wants the user 'nobody', whose number is not known"):
        old("", ImageConfig(user="nobody"))
    assert (
        json.loads(old("uid: 5", ImageConfig(user="nobody")).containers[0].config_json)["process"]["user"]["uid"] == 5
    )


@pytest.mark.parametrize("user", ["", "0", "root", "root:root", "0:0"])
def test_root_is_root(user: str) -> None:
    spec = json.loads(old("", ImageConfig(user=user)).containers[0].config_json)
    assert spec["process"]["user"] == {"uid": 0, "gid": 0}


WORDS = st.sampled_from(["", "host", "private", "/run/ns", "none", "x:y"])
ENTRIES = st.fixed_dictionaries(
    {"name": st.sampled_from("abc"), "image": st.sampled_from(["x", "y:1"])},
    optional={
        "network_mode": WORDS,
        "ipc": WORDS,
        "uts": WORDS,
        "pid": WORDS,
        "read_only": st.booleans(),
        "oom_score_adj": st.integers(-1000, 1000),
        "capabilities": st.lists(st.sampled_from(["CHOWN", "cap_kill", "CAP_BPF", "all", "nope"]), max_size=3),
        "binds": st.lists(st.sampled_from(["/a:/b", "/a:/b:ro", "/a:/c:z", "/a", "v:/x:shared,rw"]), max_size=3),
        "command": st.lists(st.sampled_from(["x", "y", 5, 1.5, True]), max_size=2),
        "readonly": st.booleans(),
    },
)
FILES = st.fixed_dictionaries(
    {},
    optional={
        "kernel": st.fixed_dictionaries({}, optional={"image": st.just("k"), "binary": st.just("b")}),
        "init": st.sampled_from(["i", ["i"], 5]),
        "system": st.lists(ENTRIES, max_size=2),
        "daemon": st.lists(ENTRIES, max_size=2),
        "onboot": st.just([]),
        "outputs": st.lists(st.fixed_dictionaries({"format": st.sampled_from(["gce", "x"])}), max_size=2),
        "volumes": st.just([{"name": "v"}]),
    },
)


@given(FILES)
def test_every_file_translates_or_is_refused_with_a_place(document: dict[str, object]) -> None:
    try:
        config = parse(json.dumps(document), file="moby.yml")
    except ConfigError as error:
        assert all(each.where.startswith("moby.yml:1:") for each in (error, *error.others))
    else:
        assert_private_by_default(config, document)


def assert_private_by_default(config: Config, document: dict[str, object]) -> None:
    entries = [entry for name in ("system", "daemon") for entry in document.get(name, ())]  # type: ignore[attr-defined]
    made = [*(config.onboot or ()), *(config.services or ())]
    assert len(made) == len(entries)
    for entry, then in zip(made, entries, strict=True):
        assert entry.as_docker
        assert (entry.net == "host") == (then.get("network_mode") == "host")
        assert entry.oom_score_adj == then.get("oom_score_adj", 0)
        assert all("rprivate" in text or "shared" in text for text in entry.binds or ())
