"""The trust section of the YAML and the flags beside it, read, and as a build obeys them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from moby.cli.main import main
from moby.config.load import parse
from moby.config.trust import trust
from moby.errors import ConfigError
from moby.oci.trust import Trust
from tests.support.cosign import FOLDER, key, publish, subjects, vector
from tests.support.images import image
from tests.support.registry import FakeRegistry


def read(text: str, keys: tuple[str, ...] = (), policy: str = "") -> Trust:
    def file(path: Path, limit_bytes: int) -> bytes:
        return path.read_bytes()[:limit_bytes]

    return trust(parse(text, file="a.yml"), keys=keys, policy=policy, home=FOLDER, read=file)


def test_keys_are_files_or_text_of_the_yaml_or_the_command_line() -> None:
    inline = json.dumps((FOLDER / "rsa.pub").read_text())
    found = read(f"trust: {{keys: [~/cosign.pub, {inline}]}}", keys=(str(FOLDER / "p384.pub"),))
    assert [each.hint for each in found.keys] == [key(name).hint for name in ("cosign", "rsa", "p384")]
    assert found.enforces


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("trust: {keys: [none.pub]}", "a.yml:1:16 (trust.keys[0])", "cannot read the public key 'none.pub': No such"),
        ('trust:\n  keys:\n  - "-----BEGIN X"', "a.yml:3:5 (trust.keys[0])", "holds no public key"),
        ("trust: {image: [A]}", "a.yml:1:17 (trust.image[0])", "upper-case"),
        ("trust: {org: ['a b']}", "a.yml:1:15 (trust.org[0])", "'a b' is not an organisation"),
    ],
)
def test_mistakes_in_the_yaml_have_a_place(text: str, where: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read(text)
    assert caught.value.where == where


def test_requiring_without_a_key_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="there is no key to verify them with"):
        read("trust: {org: [a]}", policy="require")
    with pytest.raises(ConfigError, match="'maybe' is no policy"):
        read("trust: {org: [a]}", policy="maybe")


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOBY_CACHE", str(tmp_path / "store"))
    return tmp_path


def build(here: Path, text: str, *flags: str) -> int:
    (here / "a.yml").write_text(text)
    return main(["build", *flags, "-f", "tar", "--arch", "amd64", "a.yml"])


def test_old_files_that_say_trust_are_built_with_a_warning(
    fake: FakeRegistry, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.put("linuxkit/x", "1", subjects())
    text = f"init: ['{fake.host}/linuxkit/x:1']\ntrust: {{org: [linuxkit], image: ['{fake.host}/linuxkit/x']}}\n"
    assert build(here, text) == 0
    assert "trust names no keys, so no signature is checked" in capsys.readouterr().err
    assert build(here, text, "--policy", "require") == 1
    assert "there is no key" in capsys.readouterr().err


def test_a_build_takes_signed_images_only_when_it_has_keys(
    fake: FakeRegistry, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(fake, vector("bundle"), "signed")
    fake.put("plain", "1", image([{"a": "1"}]))
    flags = ("--key", str(FOLDER / "cosign.pub"))
    signed, plain = f"init: ['{fake.host}/signed:1']\n", f"init: ['{fake.host}/plain:1']\n"
    assert build(here, signed, *flags) == 0
    assert build(here, plain, *flags) == 1
    said = capsys.readouterr().err
    assert f"{fake.host}/plain:1: no good signature" in said.replace("pulling ", "")
    assert "fix: sign it" in said
    assert build(here, plain, *flags, "--policy", "warn") == 0
    assert build(here, plain) == 0
    assert build(here, plain, *flags) == 1
