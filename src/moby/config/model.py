"""The configuration language from the top.

The models are the only schema: the JSON Schema and the tables in the documentation come from them. In all of them
``None`` means "not given" and an empty value means "given as nothing", which differs where image labels are merged.
"""

from __future__ import annotations

import shlex
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, model_validator

from moby.config import fields
from moby.config.container import ImageEntry
from moby.config.places import Places
from moby.config.spec import Id, ImageName, ModeText, OptionalImageName, Spec, Texts, checked, refusal
from moby.errors import ConfigError
from moby.oci.manifest import Platform


class KernelSpec(Spec):
    """The kernel."""

    image: OptionalImageName = Field("", description="Image that holds it; without one there is no kernel.")
    cmdline: str = Field("", description="Kernel command line.")
    binary: str = Field("", description="Name of the kernel file in the image; kernel when left out.")
    tar: str | None = Field(None, description="Name of the tar of modules in it; kernel.tar when left out, or none.")
    ucode: str | None = Field(None, description="Name of a CPU microcode archive in it.")


class VolumeSpec(Spec):
    """A named directory that containers share."""

    name: Annotated[str, checked(fields.volume_name)] = Field(description="Its name, for binds and mounts.")
    image: OptionalImageName = Field("", description="Image it is filled from; empty without one.")
    readonly: bool = Field(False, description="Containers may bind it read-only only.")
    format: Literal["oci", "filesystem"] | None = Field(
        None, description="filesystem (default): the image's files; oci: the image as an OCI layout."
    )
    platforms: tuple[Annotated[str, checked(Platform.parse)], ...] | None = Field(
        None, description="OS/ARCH[/VARIANT] to keep in an oci volume; all when left out."
    )


class FileSpec(Spec):
    """A file, directory or symbolic link of the root file system."""

    path: Annotated[str, checked(fields.file_path)] = Field(description="Where it goes.")
    directory: bool = Field(False, description="Make a directory.")
    symlink: str = Field("", description="Make a symbolic link to this.")
    contents: str | None = Field(None, description="Its text.")
    source: str = Field("", description="File of the build host to take; ~/ is the home directory.")
    metadata: Literal["yaml", "json", ""] = Field("", description="Write the merged configuration: yaml or json.")
    optional: bool = Field(False, description="Leave it out when source does not exist.")
    mode: ModeText = Field("", description='Permissions in octal, quoted; "0600", for a directory "0700".')
    uid: Id | None = Field(None, description="Owner: a number, root, or a container's name for its id.")
    gid: Id | None = Field(None, description="Group, likewise.")

    @model_validator(mode="after")
    def _one_kind(self) -> FileSpec:
        if fault := _file_fault(self):
            raise refusal(fault)
        return self


def _file_fault(file: FileSpec) -> ConfigError | None:
    kinds = {
        "directory: true": file.directory,
        "symlink": bool(file.symlink),
        "contents": file.contents is not None,
        "source": bool(file.source),
        "metadata": bool(file.metadata),
    }
    given = [name for name, present in kinds.items() if present]
    if not given:
        fix = "give contents, source, metadata, symlink or directory: true"
        return ConfigError("contents of the file are not specified", fix=fix)
    return several_kinds(given)


def several_kinds(given: list[str]) -> ConfigError | None:
    """What is wrong with a file that has all of these keys, in the order of their models."""
    # The original lets a directory win over a symlink, and a symlink over contents.
    if len(given) <= 1 or given in (["directory: true", "symlink"], ["symlink", "contents"]):
        return None
    return ConfigError(f"file has {' and '.join(given)}", fix="keep one of them")


class TrustSpec(Spec):
    """Which images must be signed."""

    image: Texts | None = Field(None, description="Images that must be signed.")
    org: Texts | None = Field(None, description="Organisations whose images must be signed.")
    keys: Texts | None = Field(None, description="Public keys, PEM text or files; one of them must have signed.")


class Output(Spec):
    """A format that a file of March 2017 asks for."""

    format: str = Field(description="Its name of the time.")
    project: str = Field("", description="Project of the cloud.")
    bucket: str = Field("", description="Bucket to upload to.")
    family: str = Field("", description="Family of the cloud's image.")
    public: bool = Field(False, description="Everybody may read the upload.")
    replace: bool = Field(False, description="An image of the same name is replaced.")

    @property
    def modern(self) -> str:
        """The format of today."""
        return _FORMATS.get(self.format, self.format)

    def push(self, file: str) -> str:
        """The command that takes ``file``, the format's output, to where the file wanted it; empty for nowhere."""
        if self.format not in _PUSHED:
            return ""
        flags = [("--project", self.project), ("--bucket", self.bucket), ("--family", self.family)]
        words = [word for flag, value in flags if value for word in (flag, value)]
        return shlex.join(["moby", "push", "gcp", *words, *(["--public"] if self.public else []), file])


_FORMATS = {
    **dict.fromkeys(("gce", "gce-img", "gce-storage", "gcp-img", "gcp-storage"), "gcp"),
    **dict.fromkeys(("qcow", "qcow2"), "qcow2-bios"),
}
_PUSHED = ("gce", "gce-storage", "gcp-storage")


class Config(Spec):
    """A machine: what it boots, runs and holds."""

    kernel: KernelSpec | None = Field(None, description="The kernel.")
    init: tuple[ImageName, ...] | None = Field(None, description="Images unpacked into / in this order.")
    onboot: tuple[ImageEntry, ...] | None = Field(None, description="Containers run one after another at boot.")
    onshutdown: tuple[ImageEntry, ...] | None = Field(None, description="Containers run at a clean shutdown.")
    services: tuple[ImageEntry, ...] | None = Field(None, description="Containers that keep running.")
    files: tuple[FileSpec, ...] | None = Field(None, description="Files to add, in this order.")
    volumes: tuple[VolumeSpec, ...] | None = Field(None, description="Directories that containers share.")
    trust: TrustSpec | None = Field(None, description="Which images must be signed, and by whom.")
    verity: bool | None = Field(None, description="Whether the kernel checks a root on a disk (dm-verity).")

    _places: Places = PrivateAttr(default_factory=Places)
    _notices: Texts = PrivateAttr(default=())
    _outputs: tuple[Output, ...] = PrivateAttr(default=())

    @property
    def places(self) -> Places:
        """Where each value was written."""
        return self._places

    @property
    def notices(self) -> Texts:
        """What was noticed while reading, for the user."""
        return self._notices

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The formats to make when none is asked for: those that files of March 2017 name."""
        return self._outputs

    def at(self, places: Places, notices: Texts = (), outputs: tuple[Output, ...] = ()) -> Config:
        """The same configuration that knows its places."""
        copy = self.model_copy()
        copy._places, copy._notices, copy._outputs = places, notices, outputs
        return copy
