"""``runtime.interfaces`` and ``runtime.bindNS`` in a machine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import moby
from moby.artifact import Architecture
from moby.context import Context
from moby.machines.commandline import TCG
from moby.machines.options import RunOptions

pytestmark = pytest.mark.boot

TEXT = """
kernel: {image: "@pkg:kernel", cmdline: console=ttyS0 quiet}
init: ["@pkg:init", "@pkg:crun", "@pkg:modprobe"]
onboot:
  - name: before
    image: "@pkg:busybox"
    capabilities: [CAP_NET_ADMIN]
    command: ["/usr/sbin/ip", "link", "add", "moved", "type", "dummy"]
  - &looks
    name: inside
    image: "@pkg:busybox"
    net: new
    command: ["/usr/bin/sh", "-c", "cd /sys/class/net; echo inside: *"]
    runtime:
      interfaces:
        - {name: made, add: dummy}
        - {name: eth0, add: veth, peer: left}
        - {name: short, peer: right}
        - {name: wg0, add: wireguard, createInRoot: true}
        - {name: moved}
      bindNS: {net: /run/netns/kept}
  - name: outside
    image: "@pkg:busybox"
    command: ["/usr/bin/sh", "-c", "cd /sys/class/net; echo outside: *"]
  - name: again
    image: "@pkg:busybox"
    net: /run/netns/kept
    command: ["/usr/bin/sh", "-c", "cd /sys/class/net; echo again: *"]
  - name: wrong
    image: "@pkg:busybox"
    net: new
    command: ["/usr/bin/true"]
    runtime: {interfaces: [{name: absent}]}
services:
  # Ends at once, so its pair has to be made again and again.
  - name: often
    image: "@pkg:busybox"
    net: new
    command: ["/usr/bin/true"]
    runtime: {interfaces: [{name: eth0, peer: often}]}
"""


@pytest.mark.shows("runtime.interfaces: made, moved, paired; namespaces kept with bindNS", by="boot")
def test_containers_get_their_interfaces(tmp_path: Path) -> None:
    (tmp_path / "net.yml").write_text(TEXT)
    context = Context.from_environment()
    options = moby.BuildOptions(architecture="amd64")
    made = moby.build(tmp_path / "net.yml", directory=tmp_path, options=options, context=context)
    emulated = RunOptions(accelerator=TCG, architecture=Architecture.AMD64, memory_mib=512)
    with moby.run(made, options=emulated, context=context) as machine:
        machine.wait_console("starting again in 0.4 s", timeout_s=90)
        said = machine.console.text(1 << 20)
        machine.stop(timeout_s=30)
    inside = {"eth0", "lo", "made", "moved", "short", "wg0"}
    assert names("inside", said) == inside
    assert names("again", said) == inside
    assert names("outside", said) >= {"eth0", "left", "lo", "right"}
    assert not names("outside", said) & {"made", "moved", "short", "wg0"}
    assert "cannot move interface absent" in said
    assert "cannot make interface" not in said


def names(who: str, said: str) -> set[str]:
    found = re.search(rf": {who}: (.*)", said)
    assert found is not None, said
    return set(found[1].split())
