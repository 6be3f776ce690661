"""Each wrong configuration has a message of its own and a minimally mended twin that loads."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from moby.config.load import parse
from moby.errors import ConfigError

S = "services: [{name: s, image: x, %s}]"
F = "files: [{path: a, %s}]"

# (wrong, right)
PAIRS: tuple[tuple[str, str], ...] = (
    # the top
    ("kernl: {image: k}", "kernel: {image: k}"),
    ("cmdline: x", "kernel: {cmdline: x}"),
    ("kernel:", "kernel: {}"),
    ("services: {name: s, image: x}", "services: [{name: s, image: x}]"),
    ("[kernel]", "{kernel: {}}"),
    ("init: runc\nservices: []", "init: [runc]\nservices: []"),
    ("init: [runc, runc, 5]", 'init: [runc, runc, "5"]'),
    ("init: [Runc]", "init: [runc]"),
    ('init: [""]', "init: [a]"),
    ("init: ['http://a/b']", "init: ['a/b']"),
    ("init: ['a:b:c']", "init: ['a:b']"),
    ("init: ['a@sha256:12']", f"init: ['a@sha256:{'12' * 32}']"),
    ("kernel: {image: k, cmdline: 5}", 'kernel: {image: k, cmdline: "5"}'),
    ("kernel: {image: k, tar: true}", 'kernel: {image: k, tar: "true"}'),
    ("trust: {keys: k.pem}", "trust: {keys: [k.pem]}"),
    ("init: [a]\ninit: [b]", "init: [a, b]"),
    # entries
    ("services: [{image: x}]", "services: [{name: s, image: x}]"),
    ("services: [{name: s}]", "services: [{name: s, image: x}]"),
    ('services: [{name: s, image: ""}]', "services: [{name: s, image: x}]"),
    ('services: [{name: "", image: x}]', "services: [{name: s, image: x}]"),
    ("services: [{name: a/b, image: x}]", "services: [{name: a-b, image: x}]"),
    ("services: [{name: .., image: x}]", "services: [{name: a.., image: x}]"),
    ("services: [{name: s, image: x}, {name: s, image: y}]", "services: [{name: s, image: x}, {name: t, image: y}]"),
    (S % "capabilites: [CAP_KILL]", S % "capabilities: [CAP_KILL]"),
    (S % "oom_score_adj: 1", S % "oomScoreAdj: 1"),
    (S % "mkdir: [/x]", S % "runtime: {mkdir: [/x]}"),
    (S % "readonly: yes", S % "readonly: true"),
    (S % 'readonly: "false"', S % "readonly: false"),
    ("services: [{name: s, image: x, env: ~}]", S % "env: []"),
    (S % "command: /bin/sh", S % "command: [/bin/sh]"),
    (S % "oomScoreAdj: '5'", S % "oomScoreAdj: 5"),
    (S % "oomScoreAdj: 1.5", S % "oomScoreAdj: 1.0"),
    (S % "oomScoreAdj: 5000", S % "oomScoreAdj: 500"),
    (S % "hostname: [h]", S % "hostname: h"),
    (S % "sysctl: {a: 1}", S % 'sysctl: {a: "1"}'),
    (S % "sysctl: [a]", S % "sysctl: {a: b}"),
    (S % "pid: none", S % "pid: new"),
    (S % "userns: none", S % "userns: new"),
    # the small languages
    (S % "capabilities: [NET_ADMIN]", S % "capabilities: [CAP_NET_ADMIN]"),
    (S % "capabilities: [cap_kill]", S % "capabilities: [CAP_KILL]"),
    (S % "capabilities: [all, CAP_KILL]", S % "capabilities: [ALL]"),
    (S % "ambient: [CAP_FLY]", S % "ambient: [CAP_KILL]"),
    (S % "binds: [/a]", S % "binds: ['/a:/a']"),
    (S % "binds: ['/a:/b:ro:x']", S % "binds: ['/a:/b:ro,x']"),
    (S % "binds: ['/a:']", S % "binds: ['/a:/b']"),
    (S % "binds.add: [':/a']", S % "binds.add: ['/b:/a']"),
    (S % "tmpfs: ['/t:a:b']", S % "tmpfs: ['/t:a,b']"),
    (S % "tmpfs: ['']", S % "tmpfs: [/t]"),
    (S % "rlimits: ['nofile,1']", S % "rlimits: ['nofile,1,1']"),
    (S % "rlimits: ['nofiles,1,1']", S % "rlimits: ['nofile,1,1']"),
    (S % "rlimits: ['nofile,1,x']", S % "rlimits: ['nofile,1,unlimited']"),
    (S % "rlimits: [nofile,1,2]", S % "rlimits: ['nofile,1,2']"),
    (S % 'devices: [{path: /d, mode: "888"}]', S % 'devices: [{path: /d, mode: "777"}]'),
    (S % "devices: [{path: /d, major: '5'}]", S % "devices: [{path: /d, major: 5}]"),
    (S % "devices: [{path: /d, minr: 5}]", S % "devices: [{path: /d, minor: 5}]"),
    (S % "mounts: [{destination: /x}]", S % "mounts: [{destination: /dev}]"),
    (S % "mounts: [{type: tmpfs}]", S % "mounts: [{type: proc}]"),
    (S % "mounts: [/x]", S % "mounts: [{type: sysfs}]"),
    (S % "resources: {memory: {limt: 1}}", S % "resources: {memory: {limit: 1}}"),
    (S % "resources: {memory: 5}", S % "resources: {memory: {limit: 5}}"),
    (S % "resources: {blockio: {weight: 70000}}", S % "resources: {blockio: {weight: 700}}"),
    (S % "resources: {hugepageLimits: [{pageSize: 2.5}]}", S % "resources: {hugepageLimits: [{pageSize: 2MB}]}"),
    (S % "uidMappings: [{hostID: -1}]", S % "uidMappings: [{hostID: 1}]"),
    (S % "runtime: {interfaces: [{add: dummy}]}", S % "runtime: {interfaces: [{name: d, add: dummy}]}"),
    (S % "runtime: {bindNS: {network: /x}}", S % "runtime: {bindNS: {net: /x}}"),
    # ids and volumes
    (S % "uid: nobody", S % "uid: s"),
    (S % 'gid: "100"', S % "gid: 100"),
    (S % "uid: 1.5", S % "uid: 1"),
    (S % "uid: true", S % "uid: root"),
    (S % "additionalGids: [5, other]", S % "additionalGids: [5, s]"),
    (S % "binds: ['data:/x']", S % "binds: ['data:/x']" + "\nvolumes: [{name: data}]"),
    (S % "binds: ['dat:/x']" + "\nvolumes: [{name: data}]", S % "binds: ['data:/x']" + "\nvolumes: [{name: data}]"),
    (
        S % "binds: ['v:/x']" + "\nvolumes: [{name: v, readonly: true}]",
        S % "binds: ['v:/x:ro']" + "\nvolumes: [{name: v, readonly: true}]",
    ),
    (
        S % "mounts: [{type: bind, source: v, destination: /x, options: [rw, ro]}]"
        + "\nvolumes: [{name: v, readonly: true}]",
        S % "mounts: [{type: bind, source: v, destination: /x, options: [ro, rw]}]"
        + "\nvolumes: [{name: v, readonly: true}]",
    ),
    (
        S % "mounts: [{type: bind, source: w, destination: /x}]",
        S % "mounts: [{type: bind, source: w, destination: /x}]" + "\nvolumes: [{name: w}]",
    ),
    ("volumes: [{name: V}]", "volumes: [{name: v}]"),
    ("volumes: [{image: x}]", "volumes: [{name: v, image: x}]"),
    ("volumes: [{name: v}, {name: v}]", "volumes: [{name: v}, {name: w}]"),
    ("volumes: [{name: v, format: oic}]", "volumes: [{name: v, format: oci}]"),
    ("volumes: [{name: v, platforms: [linux/]}]", "volumes: [{name: v, platforms: [linux/arm64/v8]}]"),
    # files
    ("files: [{contents: x}]", "files: [{path: a, contents: x}]"),
    ('files: [{path: "", contents: x}]', "files: [{path: a, contents: x}]"),
    ("files: [{path: /, directory: true}]", "files: [{path: /a, directory: true}]"),
    ("files: [{path: ../a, contents: x}]", "files: [{path: b/../a, contents: x}]"),
    (F % "mode: '0644'", F % "mode: '0644', contents: ''"),
    (F % "contents: 5", F % 'contents: "5"'),
    (F % "contents: x, mode: 0644", F % 'contents: x, mode: "0644"'),
    (F % 'contents: x, mode: "rw"', F % 'contents: x, mode: "600"'),
    (F % "contents: x, source: y", F % "source: y"),
    (F % "contents: x, metadata: yaml", F % "metadata: yaml"),
    (F % "source: x, metadata: yaml", F % "metadata: json"),
    (F % "directory: true, contents: x", F % "directory: true"),
    (F % "symlink: x, source: y", F % "symlink: x"),
    (F % "metadata: toml", F % "metadata: json"),
    (F % "contents: x, uid: web", F % "contents: x, uid: root"),
    (F % "contents: x, optinal: true", F % "contents: x, optional: true"),
)


def message(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, file="f.yml")
    return "\n".join(str(each) for each in (caught.value, *caught.value.others))


def test_messages(golden: Callable[[str, str], None]) -> None:
    golden("config/errors.txt", "\n".join(f"$ {wrong}\n{message(wrong)}\n" for wrong, _ in PAIRS))


def test_messages_differ() -> None:
    messages = [message(wrong) for wrong, _ in PAIRS]
    assert len(set(messages)) == len(messages)


@pytest.mark.parametrize(("wrong", "right"), PAIRS)
def test_the_mended_twin_loads(wrong: str, right: str) -> None:
    assert wrong != right
    parse(right)


def test_all_faults_come_at_once_in_the_order_of_the_file(golden: Callable[[str, str], None]) -> None:
    text = """\
kernel:
  image: linuxkit/kernel:6.6
  cmdlin: console=ttyS0
services:
  - name: web
    image: nginx
    binds: [web:/x, /b]
    uid: wbe
    pid: none
  - name: db
    image: Postgres
    capabilities: [NET_ADMIN]
  - name: web
    image: nginx
    gid: web
    binds: [data:/x]
files:
  - path: etc/x
    mode: 0644
    contents: x
  - path: etc/y
    contents: y
    uid: ngnix
"""
    golden("config/all-at-once.txt", message(text) + "\n")
