from __future__ import annotations

import json
from collections.abc import Callable

from moby.evidence.planned import plan_form
from tests.support.plans import planned

TEXT = """
kernel: {image: k, cmdline: console=ttyS0, ucode: u}
init: [i]
onboot: [{name: a, image: x, readonly: true}]
services: [{name: s, image: x, binds: ["v:/v"], runtime: {mkdir: [/v]}}]
files:
  - {path: d, directory: true}
  - {path: l, symlink: /t}
  - {path: s, source: /dev/../etc/passwd, mode: "0640", uid: s}
  - {path: c, contents: "x"}
volumes:
  - {name: v}
  - {name: w, image: w, format: oci, platforms: [linux/arm64], readonly: true}
"""


def test_a_plan_as_data(golden: Callable[[str, str], None]) -> None:
    golden("evidence/plan.json", json.dumps(plan_form(planned(TEXT)), indent=2) + "\n")
