"""The merged configuration in print: ``--dry-run`` and the ``metadata`` of a ``files`` entry.

The bytes are those of the original tool. Sections are always all there; within an entry, only what is set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pydantic.alias_generators import to_camel

from moby import ocispec, yamltext
from moby.config.container import BindNamespaces, Device, ImageEntry, ImageLabel, Interface, Runtime
from moby.config.model import Config, FileSpec, KernelSpec, VolumeSpec
from moby.config.spec import Spec
from moby.oci.reference import Reference
from moby.ocispec import Plain

_Form = dict[str, Plain]

# Keys whose mappings are structures of the OCI specification.
_OCI = {
    "mounts": ocispec.MOUNT,
    "resources": ocispec.RESOURCES,
    "uid_mappings": ocispec.ID_MAPPING,
    "gid_mappings": ocispec.ID_MAPPING,
}


class _Spelling(NamedTuple):
    """How one printed form differs from the others."""

    oci: Callable[[tuple[ocispec.Field, ...], Spec], _Form]
    sort: Callable[[dict[str, str]], dict[str, str]]
    empty_list: Plain
    shows_empty_namespaces: bool
    image: Callable[[str], str]


def _bytewise(values: dict[str, str]) -> dict[str, str]:
    return dict(sorted(values.items(), key=lambda pair: pair[0].encode()))


def _expanded(image: str) -> str:
    return Reference.parse(image).expanded if image else image


def dry_run(config: Config) -> str:
    """The configuration as ``--dry-run`` shows it, image names as they were written."""
    style = yamltext.DRY_RUN
    return yamltext.emit(_config(config, _yaml(style, image=str)), style)


def metadata_yaml(config: Config) -> bytes:
    """The text of a file with ``metadata: yaml``: image names expanded, but not those of volumes."""
    style = yamltext.METADATA
    return yamltext.emit(_config(config, _yaml(style, image=_expanded)), style).encode()


def metadata_json(config: Config) -> bytes:
    """The text of a file with ``metadata: json``."""
    spelling = _Spelling(ocispec.json_form, _bytewise, None, shows_empty_namespaces=True, image=_expanded)
    return ocispec.encode(_config(config, spelling))


def _yaml(style: yamltext.Style, *, image: Callable[[str], str]) -> _Spelling:
    def sort(values: dict[str, str]) -> dict[str, str]:
        return yamltext.sort_keys(values, style)

    return _Spelling(ocispec.yaml_form, sort, (), shows_empty_namespaces=False, image=image)


def _config(config: Config, spelling: _Spelling) -> _Form:
    def section(entries: tuple[Plain, ...]) -> Plain:
        return entries or spelling.empty_list

    return {
        "kernel": _kernel(config.kernel or KernelSpec(), spelling),
        "init": section(tuple(spelling.image(each) for each in config.init or ())),
        "onboot": section(tuple(_image(each, spelling) for each in config.onboot or ())),
        "onshutdown": section(tuple(_image(each, spelling) for each in config.onshutdown or ())),
        "services": section(tuple(_image(each, spelling) for each in config.services or ())),
        "files": section(tuple(_file(each) for each in config.files or ())),
        "volumes": section(tuple(_volume(each) for each in config.volumes or ())),
    }


def _kernel(kernel: KernelSpec, spelling: _Spelling) -> _Form:
    return {"image": spelling.image(kernel.image)} | _given(kernel, KernelSpec, without=("image",))


def _given(model: Spec, shape: type[Spec], *, without: tuple[str, ...] = ()) -> _Form:
    """The keys of ``shape`` that are set in ``model``, in the order of the model."""
    form: _Form = {}
    for name, field in shape.model_fields.items():
        value = getattr(model, name)
        if name not in without and value is not None and value != field.default:
            form[field.alias or to_camel(name)] = value
    return form


def _volume(volume: VolumeSpec) -> _Form:
    form = _given(volume, VolumeSpec)
    return form if volume.platforms else {key: value for key, value in form.items() if key != "platforms"}


def _file(file: FileSpec) -> _Form:
    given = _given(file, FileSpec)
    always: _Form = {"path": file.path, "directory": file.directory, "optional": file.optional}
    order = ("path", "directory", "symlink", "contents", "source", "metadata", "optional", "mode", "uid", "gid")
    return {key: (always | given)[key] for key in order if key in always or key in given}


def _image(entry: ImageEntry, spelling: _Spelling) -> _Form:
    form: _Form = {"name": entry.name, "image": spelling.image(entry.image)}
    for name, field in ImageLabel.model_fields.items():
        value = getattr(entry, name)
        if value is not None and value != field.default:
            form[field.alias or to_camel(name)] = _setting(name, value, spelling)
    return form


def _setting(name: str, value: Plain | Spec, spelling: _Spelling) -> Plain:
    if isinstance(value, Runtime):
        return _runtime(value, spelling)
    if isinstance(value, Spec):
        return spelling.oci(_OCI[name], value)
    if isinstance(value, dict):
        return spelling.sort(value)
    if isinstance(value, tuple):
        return tuple(_item(name, each, spelling) for each in value)
    return value


def _item(name: str, value: Plain | Spec, spelling: _Spelling) -> Plain:
    if isinstance(value, Device):
        always: _Form = {"path": value.path, "type": value.type, "major": value.major, "minor": value.minor}
        return always | ({"mode": value.mode} if value.mode else {})
    if isinstance(value, Interface):
        given: _Form = {"name": value.name, "add": value.add, "peer": value.peer}
        return {key: text for key, text in given.items() if text} | {"createInRoot": value.create_in_root}
    return spelling.oci(_OCI[name], value) if isinstance(value, Spec) else value


def _runtime(runtime: Runtime, spelling: _Spelling) -> _Form:
    form: _Form = {}
    for name, field in Runtime.model_fields.items():
        value = getattr(runtime, name)
        key = field.alias or to_camel(name)
        if name == "bind_ns":
            paths = _given(value, BindNamespaces) if value else {}
            form |= {key: paths} if paths or spelling.shows_empty_namespaces else {}
        elif value is not None:
            form[key] = _setting(name, value, spelling)
    return form
