"""Files, standard input and addresses → one checked ``Config``.

Everything that the YAML alone shows to be wrong is reported in one error, before anything is pulled.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from moby.config import checks, merge
from moby.config.decode import decode
from moby.config.legacy import Translation, translate
from moby.config.model import Config
from moby.config.places import Fault, in_order
from moby.config.places import Path as Place
from moby.config.salvage import UNKNOWN, salvage
from moby.config.source import MAX_BYTES, read
from moby.context import Context
from moby.errors import ConfigError
from moby.http import redact

if TYPE_CHECKING:
    import httpx

# Gives the image that ``@pkg:NAME`` stands for. The directory is the one that ``./`` in the name starts from,
# None for a file from the network. It is called for every image of every file, before any check is complete, so it
# names and does not build; it raises ConfigError for a name that does not exist.
Templates = Callable[[str, Path | None], str]

_STDIN = "-"
_WEB = ("http://", "https://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A configuration with everything wrong in it; with faults it is what could be made of the rest.

    ``files`` are the sources as messages name them. ``is_readable`` is whether all of them are YAML.
    """

    config: Config
    faults: tuple[ConfigError, ...]
    files: tuple[str, ...]
    is_readable: bool = True

    def checked(self) -> Config:
        """The configuration. Raises ``ConfigError`` that carries all faults, if there are any."""
        if self.faults:
            raise ConfigError.gather(in_order(self.faults, self.files))
        return self.config


def load(
    sources: Sequence[str],
    *,
    context: Context,
    templates: Templates,
    stdin: BinaryIO | None = None,
    seen: Callable[[str, bytes], None] | None = None,
) -> Config:
    """The merged configuration of ``sources``: paths, ``-`` for standard input, or http(s) addresses.

    ``seen`` is told each source with its bytes. Raises ``ConfigError`` that carries everything wrong in all of them,
    each with its file, line and column.
    """
    return draft(sources, context=context, templates=templates, stdin=stdin, seen=seen).checked()


def draft(
    sources: Sequence[str],
    *,
    context: Context,
    templates: Templates,
    stdin: BinaryIO | None = None,
    seen: Callable[[str, bytes], None] | None = None,
) -> Draft:
    """As ``load``; what is wrong is in the result."""
    documents: list[Translation] = []
    failures: list[ConfigError] = []
    for source in sources:
        try:
            text = fetch(source, context, stdin)
            if seen is not None:
                seen(source, text)
            document = translate(read(text, file=_shown(source)))
        except ConfigError as error:
            failures.append(error)
        else:
            documents.append(expand(document, templates, _directory(source)))
    return assemble(documents, failures, files=tuple(map(_shown, sources)))


def parse(text: str | bytes, *, file: str = "config.yml", templates: Templates | None = None) -> Config:
    """The configuration in ``text``; ``file`` names it in messages. Raises ``ConfigError`` like ``load``."""
    document = translate(read(text, file=file))
    return assemble([expand(document, templates, Path()) if templates else document], [], files=(file,)).checked()


def assemble(translations: Sequence[Translation], failures: Sequence[ConfigError], *, files: Sequence[str]) -> Draft:
    """One configuration from documents in their order; ``failures`` are those of files that gave no document."""
    parts: list[checks.Part] = []
    alone: list[list[Fault]] = []
    for each in translations:
        config, found = decode(Config, each.document)
        config = config or salvage(each.document.data, [fault.path for fault in found])
        parts.append(checks.Part(data=each.document.data, places=each.document.places, config=config))
        alone.append(found)
    faults, merged = list(failures), Config.model_validate({})
    across = checks.check(parts, complete=not failures)
    for translation, part, own, others in zip(translations, parts, alone, across, strict=True):
        document, config, found = translation.document, part.config, [*own, *others]
        faults.extend(document.places.errors(found))
        if others:
            config = salvage(document.data, [fault.path for fault in found])
        config = _like_docker(config, translation.as_docker)
        merged = merge.merge(merged, config.at(document.places, document.notices, translation.outputs))
    return Draft(config=merged, faults=tuple(faults), files=tuple(files), is_readable=not failures)


def _shown(source: str) -> str:
    return "stdin" if source == _STDIN else redact(source)


def _like_docker(config: Config, paths: frozenset[Place]) -> Config:
    changed = {
        section: tuple(
            entry.like_docker() if (section, index) in paths else entry
            for index, entry in enumerate(getattr(config, section) or ())
        )
        for section in {str(path[0]) for path in paths}
    }
    return config.model_copy(update=changed) if changed else config


def fetch(source: str, context: Context, stdin: BinaryIO | None = None) -> bytes:
    """The bytes of a path, ``-`` or an address, at most one more than are allowed. Raises ``ConfigError``."""
    if source == _STDIN:
        return (stdin or sys.stdin.buffer).read(MAX_BYTES + 1)
    if source.startswith(_WEB):
        return _download(source, context)
    try:
        with Path(source).open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read it: {error.strerror}", where=source, fix=_beside(source)) from error


def _beside(source: str) -> str:
    """What was probably meant when there is no such file."""
    named = [name for suffix in (".yml", ".yaml") if Path(name := source + suffix).is_file()]
    return f"did you mean {named[0]!r}?" if named else "check the path"


def _download(url: str, context: Context) -> bytes:
    import httpx  # slow to import, so only where the network is used

    shown = redact(url)
    try:
        with context.client().stream("GET", url, follow_redirects=True) as response:
            if response.status_code != httpx.codes.OK:
                what = f"the server answered {response.status_code} {response.reason_phrase}"
                raise ConfigError(what.rstrip(), where=shown, fix="check the address")
            return _bounded(response)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ConfigError(
            f"cannot fetch it: {redact(str(error))}", where=shown, fix="check address and network"
        ) from error


def _bounded(response: httpx.Response) -> bytes:
    data = bytearray()
    for chunk in response.iter_bytes():
        data += chunk
        if len(data) > MAX_BYTES:
            break  # the reader refuses it with its limit
    return bytes(data)


def _directory(source: str) -> Path | None:
    if source.startswith(_WEB):
        return None
    return Path() if source == _STDIN else Path(source).parent


def expand(translation: Translation, templates: Templates, directory: Path | None) -> Translation:
    """The document with the templates in its image positions replaced."""
    document = translation.document
    if not isinstance(document.data, dict):
        return translation
    faults: list[Fault] = []

    def image(text: object, path: Place) -> object:
        if not isinstance(text, str) or not text.startswith("@"):
            return text
        try:
            return _image(text, templates, directory)
        except ConfigError as error:
            faults.append(Fault(path=path, what=error.what, fix=error.fix))
            return UNKNOWN  # so that the entry's other faults are seen

    def entry(item: object, path: Place) -> object:
        if not isinstance(item, dict) or "image" not in item:
            return item
        return {**item, "image": image(item["image"], (*path, "image"))}

    data = dict(document.data)
    if "kernel" in data:
        data["kernel"] = entry(data["kernel"], ("kernel",))
    for section, each in {"init": image, **dict.fromkeys((*checks.CONTAINERS, "volumes"), entry)}.items():
        if isinstance(items := data.get(section), tuple):
            data[section] = tuple(each(item, (section, index)) for index, item in enumerate(items))
    return replace(translation, document=replace(document, data=data, faults=(*document.faults, *faults)))


def _image(text: str, templates: Templates, directory: Path | None) -> str:
    kind, _, name = text[1:].partition(":")
    if kind != "pkg" or not name:
        fix = 'write "@pkg:NAME" for a component, or "@pkg:./DIRECTORY" for one of your own'
        raise ConfigError(f"unknown template {text[:60]!r}", fix=fix)
    if directory is None and "/" in name:
        fix = "use a component by name, or download the file first"
        raise ConfigError(f"{text[:60]!r} names a directory, and this file comes from the network", fix=fix)
    return templates(name, directory)
