"""Commands in a running machine over ssh, with a key made for it."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from moby import proc
from moby.errors import CommandError

_OPTIONS = (
    *("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"),
    *("-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=10", "-F", "/dev/null"),
)
_REFUSED = 255


def make_key(path: Path) -> str:
    """A key pair at ``path``; its public line."""
    proc.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", path])
    return path.with_name(f"{path.name}.pub").read_text()


@dataclass(frozen=True, kw_only=True)
class Shell:
    """root's shell of the machine whose port 22 is ``port`` of this host."""

    port: int
    key: Path

    def run(self, command: str, *, timeout_s: float = 60) -> str:
        """What ``command`` prints. Raises ``CommandError`` with its exit status; 255 when nobody may log in."""
        words: list[str | Path] = ["ssh", *_OPTIONS, "-i", self.key, "-p", str(self.port), "root@127.0.0.1", command]
        return proc.run(words, timeout_s=timeout_s).decode()

    def wait(self, timeout_s: float = 60) -> None:
        """Return once somebody can log in. Raises ``CommandError`` when that takes too long."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self.run("true")
                return
            except CommandError as error:
                if error.status != _REFUSED or time.monotonic() > deadline:
                    raise
            time.sleep(0.2)

    def copy(self, source: Path, target: str) -> None:
        """Copy a file into the machine, by sftp."""
        ssh = shutil.which("ssh") or "ssh"
        proc.run(
            ["scp", "-S", ssh, *_OPTIONS, "-i", self.key, "-P", str(self.port), source, f"root@127.0.0.1:{target}"]
        )
