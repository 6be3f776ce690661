from __future__ import annotations

import io
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from moby.config.load import load, parse
from moby.config.model import Config
from moby.context import Context
from moby.errors import ConfigError

PAGES = {"/ok.yml": b"init: [fromweb]\n", "/local.yml": b'init: ["@pkg:./x"]\n'}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        moved = self.path == "/moved.yml"
        body = PAGES.get(self.path, b"init: [error-page]\n")
        self.send_response(302 if moved else 200 if self.path in PAGES else 404)
        if moved:
            self.send_header("Location", "/ok.yml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Tests are silent."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


class Templates:
    """Names ``@pkg:NAME`` and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Path | None]] = []

    def __call__(self, name: str, directory: Path | None) -> str:
        self.asked.append((name, directory))
        if name == "missing":
            raise ConfigError("there is no component 'missing'", fix="did you mean 'missive'?")
        return f"localhost/moby/{Path(name).name}:1"


def loaded(*sources: str, templates: Templates | None = None, stdin: bytes = b"") -> Config:
    context = Context(store=Path("store"), work=Path("work"))
    return load(sources, context=context, templates=templates or Templates(), stdin=io.BytesIO(stdin))


def failures(*sources: str, **more: bytes) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(*sources, **more)  # type: ignore[arg-type]
    return [str(each) for each in (caught.value, *caught.value.others)]


def written(directory: Path, name: str, text: str) -> str:
    path = directory / name
    path.write_text(text)
    return str(path)


def test_files_standard_input_and_addresses_are_merged_in_order(tmp_path: Path, server: str) -> None:
    first = written(tmp_path, "a.yml", "init: [a]\n")
    config = loaded(first, "-", f"{server}/ok.yml", stdin=b"init: [b]\n")
    assert config.init == ("a", "b", "fromweb")


def test_redirects_are_followed(server: str) -> None:
    assert loaded(f"{server}/moved.yml").init == ("fromweb",)


def test_an_error_page_is_not_a_configuration(server: str) -> None:
    (message,) = failures(f"{server}/nope.yml")
    assert message == f"{server}/nope.yml: the server answered 404 Not Found (check the address)"


def test_an_unreachable_server_is_one_error() -> None:
    (message,) = failures("http://127.0.0.1:1/x.yml?token=secret")
    assert "cannot fetch it" in message
    assert "secret" not in message


def test_missing_files_and_faults_of_all_others_come_together_but_t_may_be_in_one_that_is_missing(
    tmp_path: Path,
) -> None:
    written(tmp_path, "web.yml", "init: []\n")
    good = written(tmp_path, "c.yml", "services: [{name: s, image: x}]\n")
    bad = written(tmp_path, "b.yml", "services: [{name: s, image: x, uid: t}]\nkernl: {}\n")
    assert failures(str(tmp_path / "web"), str(tmp_path), good, bad) == [
        f"{tmp_path}/web: cannot read it: No such file or directory (did you mean '{tmp_path}/web.yml'?)",
        f"{tmp_path}: cannot read it: Is a directory (check the path)",
        f"{bad}:1:19 (services[0] 's': name): duplicate service name 's', first in {good}:1:19 (rename one of them)",
        f"{bad}:2:1: unknown key 'kernl' (did you mean 'kernel'?)",
    ]


def test_ids_and_volumes_may_be_declared_in_any_file(tmp_path: Path) -> None:
    uses = "services: [{name: s, image: x, uid: t, binds: ['v:/x', 'w:/y']}]\nvolumes: [{name: v}]\n"
    config = loaded(
        written(tmp_path, "a.yml", uses),
        written(tmp_path, "b.yml", "onboot: [{name: t, image: x}]\nvolumes: [{name: w}]\n"),
    )
    assert [volume.name for volume in config.volumes or ()] == ["v", "w"]


def test_a_volume_declared_twice_in_two_files_is_refused(tmp_path: Path) -> None:
    first = written(tmp_path, "a.yml", "volumes: [{name: v}]\n")
    second = written(tmp_path, "b.yml", "volumes: [{name: v}]\n")
    (message,) = failures(first, second)
    assert message.startswith(f"{second}:1:18 (volumes[0] 'v': name): duplicate volume name 'v', first in {first}:1:18")


def test_templates_are_expanded_in_image_positions_only(tmp_path: Path) -> None:
    text = """\
kernel: {image: "@pkg:kernel", cmdline: "@pkg:not"}
init: ["@pkg:init", plain]
onboot: [{name: "@pkg:name", image: "@pkg:./own"}]
services: [{name: s, image: "@pkg:web", command: ["@pkg:arg", "@other"], env: ["@pkg:e"]}]
files: [{path: "@pkg:path", contents: "@pkg:text"}]
volumes: [{name: v, image: "@pkg:data"}]
"""
    templates = Templates()
    config = loaded(written(tmp_path, "a.yml", text), templates=templates)
    assert templates.asked == [
        ("kernel", tmp_path),
        ("init", tmp_path),
        ("./own", tmp_path),
        ("web", tmp_path),
        ("data", tmp_path),
    ]
    assert config.kernel and config.onboot and config.services and config.files and config.volumes
    assert (config.kernel.image, config.kernel.cmdline) == ("localhost/moby/kernel:1", "@pkg:not")
    assert config.init == ("localhost/moby/init:1", "plain")
    assert (config.onboot[0].name, config.onboot[0].image) == ("@pkg:name", "localhost/moby/own:1")
    assert config.services[0].command == ("@pkg:arg", "@other")
    assert (config.files[0].path, config.files[0].contents) == ("@pkg:path", "@pkg:text")
    assert config.volumes[0].image == "localhost/moby/data:1"


def test_unknown_templates_are_placed_beside_other_faults() -> None:
    text = b'init: ["@pkg:missing", "@file:x", "@pkg:"]\nservices: [{name: s, image: "@pkgs:x", binds: [x]}]\n'
    found = failures("-", stdin=text)
    assert [message.split(" (write")[0] for message in found] == [
        "stdin:1:8 (init[0]): there is no component 'missing' (did you mean 'missive'?)",
        "stdin:1:24 (init[1]): unknown template '@file:x'",
        "stdin:1:35 (init[2]): unknown template '@pkg:'",
        "stdin:2:29 (services[0] 's': image): unknown template '@pkgs:x'",
        "stdin:2:48 (services[0] 's': binds[0]): bind 'x' has no ':'",
    ]


def test_local_templates_start_from_their_file_and_not_from_the_network(tmp_path: Path, server: str) -> None:
    templates = Templates()
    loaded("-", templates=templates, stdin=b'init: ["@pkg:./x"]')
    assert templates.asked == [("./x", Path())]
    (message,) = failures(f"{server}/local.yml")
    assert "names a directory, and this file comes from the network" in message


def test_standard_input_of_another_encoding_is_refused() -> None:
    assert failures("-", stdin=b"init: [\xff]")[0].startswith("stdin:1:8: not UTF-8")


def test_notices_are_kept(tmp_path: Path) -> None:
    path = written(tmp_path, "a.yml", "init: [a]\n---\ninit: [b]\n")
    assert loaded(path).notices == (f"{path}: only the first of its YAML documents is used",)


def test_parse_without_templates_refuses_them() -> None:
    with pytest.raises(ConfigError, match="is not an image reference"):
        parse('init: ["@pkg:x"]')


def test_reading_a_local_file_loads_nothing_slow() -> None:
    program = "import sys, moby.config.load; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert not {"httpx", "rich", "ruamel.yaml", "zstandard", "cryptography", "difflib"} & set(found.stdout.split())
