"""The model of ``build.yml``, a component's recipe.

The keys of LinuxKit's ``build.yml`` are accepted with their meaning there; those from ``description`` on are ours and
describe a component made of Debian packages. The models are the only schema: an unknown key is an error.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from moby.artifact import Architecture

_NAME = r"^[a-z0-9]+([._-][a-z0-9]+)*$"
_PACKAGE = r"^[a-z0-9{][a-z0-9+.{}-]*(:[a-z0-9]+)?( \[[a-z0-9 ]+\])?$"
_MODE = r"^[0-7]{3,4}$"

Name = Annotated[str, StringConstraints(pattern=_NAME)]
PackageName = Annotated[str, StringConstraints(pattern=_PACKAGE)]
Mode = Annotated[str, StringConstraints(pattern=_MODE)]
Text = Annotated[str, StringConstraints(min_length=1)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)


class Slim(_Model):
    """Keep only ``programs`` with the shared libraries they load, and ``files`` (globs)."""

    programs: tuple[Text, ...] = Field((), description="executables and libraries to keep, with all they link to")
    files: tuple[Text, ...] = Field((), description="globs of further files; shared libraries among them count too")


class User(_Model):
    """A line of ``etc/passwd`` and its group."""

    name: Text
    uid: int = Field(ge=0, lt=2**32)
    gid: int = Field(ge=0, lt=2**32)
    home: str = "/nonexistent"
    shell: str = "/usr/sbin/nologin"
    comment: str = ""


class Group(_Model):
    """A line of ``etc/group`` that is no user's own group."""

    name: Text
    gid: int = Field(ge=0, lt=2**32)
    members: tuple[str, ...] = ()


class FileItem(_Model):
    """A file, directory or link of the image, as under ``files`` in the YAML language."""

    path: Text
    contents: str | None = None
    source: str | None = Field(None, description="a file of the recipe directory")
    symlink: str | None = None
    directory: bool = False
    mode: Mode | None = None
    uid: int = Field(0, ge=0)
    gid: int = Field(0, ge=0)


class Program(_Model):
    """A static C program, compiled with musl for the target architecture."""

    output: Text
    sources: tuple[Text, ...] = Field(min_length=1)
    flags: tuple[str, ...] = ()
    mode: Mode = "0755"


class Kernel(_Model):
    """Which kernel package, and which of its modules."""

    package: PackageName = Field("linux-image-cloud-{arch}", description="may be a metapackage")
    modules: tuple[Text, ...] = Field((), description="loaded at boot, in this order; dependencies come by themselves")
    available: tuple[Text, ...] = Field((), description="carried, but loaded only when something asks for them")
    initrd: tuple[str, ...] = Field(("zstd", "gzip"), description="codecs this kernel unpacks an initrd with")


class Document(_Model):
    """All of ``build.yml``: LinuxKit's keys, then ours."""

    image: Name = Field(description="name of the component")
    org: str | None = None
    tag: str | None = None
    dockerfile: str | None = Field(None, description="build with a Dockerfile instead of packages")
    arches: tuple[Architecture, ...] = (Architecture.AMD64, Architecture.ARM64)
    extra_sources: tuple[str, ...] = Field((), alias="extra-sources")
    gitrepo: str | None = None
    network: bool = False
    disable_cache: bool = Field(False, alias="disable-cache")
    config: dict[str, JsonValue] | None = Field(None, description="the org.mobyproject.config label")
    build_args: tuple[str, ...] = Field((), alias="buildArgs")
    depends: dict[str, JsonValue] | None = None
    labels: dict[str, str] = Field(default_factory=dict)

    description: str = ""
    suite: Name = "trixie"
    areas: tuple[Name, ...] = ("main",)
    packages: tuple[PackageName, ...] = Field((), description="`{arch}` and a trailing ` [amd64 arm64]` are understood")
    closure: bool = Field(True, description="also what the packages depend on")
    targets: dict[Architecture, tuple[PackageName, ...]] = Field(
        default_factory=dict, description="host tools only: further packages for each architecture they work for"
    )
    slim: Slim | None = None
    keep: tuple[Text, ...] = Field((), description="globs that the default removal of documentation spares")
    remove: tuple[Text, ...] = ()
    users: tuple[User, ...] = ()
    groups: tuple[Group, ...] = ()
    files: tuple[FileItem, ...] = ()
    compile: tuple[Program, ...] = ()
    certificates: bool = False
    kernel: Kernel | None = None
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    env: tuple[str, ...] | None = None
    cwd: str | None = None
    tags: tuple[str, ...] = ()
