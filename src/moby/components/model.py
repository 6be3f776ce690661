"""The model of ``build.yml``, a component's recipe.

The keys of LinuxKit's ``build.yml`` are accepted with their meaning there; those from ``description`` on are ours and
describe a component made of Debian packages. The models are the only schema: an unknown key is an error.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from moby.config.container import ImageLabel
from moby.config.spec import ModeText, Spec, Texts, UInt32, checked, refusal
from moby.errors import ConfigError

Arch = Literal["amd64", "arm64", "riscv64", "s390x", "ppc64le", "arm"]

_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*(\{arch\})?[a-z0-9+.-]*(:[a-z0-9]+)?( \[[a-z0-9]+( [a-z0-9]+)*\])?")
_ARCHITECTURE = "{arch}"


def _name(text: str) -> None:
    if not _NAME.fullmatch(text):
        raise ConfigError(f"{text[:60]!r} is not a name", fix="use lower-case letters, digits, and - . _ between them")


def _package(text: str) -> None:
    if not _PACKAGE.fullmatch(text):
        fix = 'write NAME, NAME:ARCH, "NAME [amd64 arm64]", or linux-image-cloud-{arch}'
        raise ConfigError(f"{text[:60]!r} is not a Debian package name", fix=fix)


def inside(path: str) -> str:
    """``path`` relative and clean. Raises ``ConfigError`` when it leaves the image or names its root."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts or ".." in parts or "\0" in path:
        raise ConfigError(f"{path[:200]!r} is not a path inside the image", fix="write it without ..")
    return "/".join(parts)


def for_architecture(texts: Texts, architecture: str) -> Texts:
    """Those meant for ``architecture``, ``{arch}`` filled in: ``NAME [amd64 arm64]`` is for these two alone."""
    found = []
    for text in texts:
        name, bracket, rest = text.partition(" [")
        if not bracket or architecture in rest.rstrip("]").split():
            found.append(name.replace(_ARCHITECTURE, architecture))
    return tuple(found)


Name = Annotated[str, checked(_name)]
Package = Annotated[str, checked(_package)]
Packages = tuple[Package, ...]
InsidePath = Annotated[str, checked(inside)]


class Slim(Spec):
    """Keep only programs with the shared libraries they load, and named files."""

    programs: tuple[InsidePath, ...] = Field((), description="Programs and libraries to keep, with all they link to.")
    files: tuple[InsidePath, ...] = Field((), description="Globs of further files; what they link to is kept too.")


class User(Spec):
    """An account: a line of etc/passwd, and its group."""

    name: Name = Field(description="Login name.")
    uid: UInt32 = Field(description="User id.")
    gid: UInt32 = Field(description="Id of its group.")
    home: str = Field("/nonexistent", description="Home directory; it is not made.")
    shell: str = Field("/usr/sbin/nologin", description="Login shell.")
    comment: str = Field("", description="Full name.")


class Group(Spec):
    """A group that is no user's own."""

    name: Name = Field(description="Its name.")
    gid: UInt32 = Field(description="Group id.")
    members: Texts = Field((), description="Users that are in it.")


class FileItem(Spec):
    """A file, directory or symbolic link of the image."""

    path: InsidePath = Field(description="Where it goes.")
    contents: str | None = Field(None, description="Its text.")
    source: str = Field("", description="A file of the recipe directory.")
    symlink: str = Field("", description="Make a symbolic link to this.")
    directory: bool = Field(False, description="Make a directory.")
    mode: ModeText = Field("", description='Permissions in octal, quoted; "0644", or "0755" for a directory.')
    uid: UInt32 = Field(0, description="Owner.")
    gid: UInt32 = Field(0, description="Group.")

    @model_validator(mode="after")
    def _one_kind(self) -> FileItem:
        given = (self.contents is not None, bool(self.source), bool(self.symlink), self.directory)
        if sum(given) != 1:
            raise refusal(ConfigError("a file is one thing", fix="give one of contents, source, symlink, directory"))
        return self


class Program(Spec):
    """A static C program, compiled with musl for the target architecture."""

    output: InsidePath = Field(description="Where it goes.")
    sources: Annotated[Texts, Field(min_length=1)] = Field(description="C files of the recipe directory.")
    flags: Texts = Field((), description="Compiler flags, such as -O2, -Iinclude, -DNAME=1.")
    mode: ModeText = Field("0755", description="Permissions in octal.")


class Kernel(Spec):
    """Which kernel package, and which of its modules."""

    package: Package = Field("linux-image-cloud-{arch}", description="The package; it may be a metapackage.")
    modules: Texts = Field((), description="Loaded at boot, in this order; what they need comes by itself.")
    available: Texts = Field((), description="Carried, but loaded only when something asks; * is all.")
    dtb: Texts = Field((), description="Globs of device trees to carry in boot/dtb, such as broadcom/bcm2837*.")
    initrd: tuple[Literal["zstd", "gzip"], ...] = Field(
        ("zstd", "gzip"), description="How this kernel lets an initrd be packed, best first."
    )


class RecipeSpec(Spec):
    """All of build.yml: LinuxKit's keys, then ours."""

    image: Name = Field(description="Name of the component.")
    org: str = Field("", description="LinuxKit's; components have no organisation.")
    tag: str = Field("", description="LinuxKit's; a component's tag is its hash.")
    dockerfile: str = Field("", description="Build with this Dockerfile instead of from packages.")
    arches: tuple[Arch, ...] = Field(("amd64", "arm64"), description="Architectures it can be made for.")
    extra_sources: Texts = Field(
        (), alias="extra-sources", description="LinuxKit's; a Dockerfile build with it is refused."
    )
    gitrepo: str = Field("", description="Where its sources are kept; becomes a label.")
    network: bool = Field(False, description="Let a Dockerfile build use the network.")
    disable_cache: bool = Field(False, alias="disable-cache", description="Build a Dockerfile without cache.")
    config: ImageLabel | None = Field(None, description="How its container runs; becomes the image's label.")
    build_args: Texts = Field((), description="NAME=value arguments of a Dockerfile build.")
    depends: dict[str, Any] | None = Field(None, description="LinuxKit's; a Dockerfile build with it is refused.")
    labels: dict[str, str] | None = Field(None, description="Further labels of the image.")

    description: str = Field("", description="What it is, in one line.")
    suite: Name = Field("trixie", description="Debian suite of its packages.")
    areas: tuple[Name, ...] = Field(("main",), description="Areas of the archive to take packages from.")
    packages: Packages = Field((), description="Debian packages; the lock names the rest and the versions.")
    closure: bool = Field(True, description="Take also what the packages depend on.")
    targets: dict[Arch, Packages] | None = Field(
        None, description="Tools of the host only: further packages for each architecture they work for."
    )
    slim: Slim | None = Field(None, description="Keep only these programs and files; left out, all but documentation.")
    keep: tuple[InsidePath, ...] = Field((), description="Globs of documentation to keep.")
    remove: tuple[InsidePath, ...] = Field((), description="Globs of files to drop.")
    users: tuple[User, ...] = Field((), description="Accounts.")
    groups: tuple[Group, ...] = Field((), description="Further groups.")
    files: tuple[FileItem, ...] = Field((), description="Files to add; they win over those of packages.")
    compile: tuple[Program, ...] = Field((), description="C programs to add.")
    certificates: bool = Field(False, description="Make the bundle of CA certificates from package ca-certificates.")
    kernel: Kernel | None = Field(None, description="Make a kernel component of this package.")
    entrypoint: Texts | None = Field(None, description="The image's entrypoint.")
    command: Texts | None = Field(None, description="The image's command.")
    env: Texts | None = Field(None, description="The image's environment.")
    cwd: str = Field("", description="The image's working directory.")
    tags: tuple[Name, ...] = Field((), description="Further tags of the image, which move when it changes.")

    @model_validator(mode="after")
    def _one_source(self) -> RecipeSpec:
        if self.kernel is not None and (self.packages or self.slim):
            raise refusal(ConfigError("a kernel takes no packages and no slim", fix="name the package in kernel"))
        return self
