"""A ``Plan`` as plain data: what a build would do, every image pinned to its digest."""

from __future__ import annotations

import json
from pathlib import Path

from moby.fileplan import FilePlan
from moby.oci.image import Image
from moby.plan import ContainerPlan, KernelPlan, Plan, VolumePlan

Form = dict[str, object]


def plan_form(plan: Plan) -> Form:
    """The plan for ``json.dumps``; specifications are shown decoded."""
    return {
        "architecture": plan.architecture,
        "kernel": _kernel(plan.kernel) if plan.kernel else None,
        "init": [image_form(each.image) for each in plan.init],
        "volumes": [_volume(each) for each in plan.volumes],
        "containers": [_container(each) for each in plan.containers],
        "files": [_file(each) for each in plan.files],
        "warnings": list(plan.warnings),
    }


def image_form(image: Image) -> Form:
    """An image's name, digest and platform."""
    return {"reference": str(image.reference), "digest": str(image.digest), "platform": str(image.platform)}


def _kernel(kernel: KernelPlan) -> Form:
    names = {"cmdline": kernel.cmdline, "binary": kernel.binary, "tar": kernel.tar, "ucode": kernel.ucode}
    return {"image": image_form(kernel.image), **names}


def _volume(volume: VolumePlan) -> Form:
    return {
        "name": volume.name,
        "directory": volume.directory,
        "format": volume.format,
        "readonly": volume.readonly,
        "images": [image_form(each) for each in volume.images],
        "platforms": [str(each) for each in volume.platforms],
    }


def _container(container: ContainerPlan) -> Form:
    return {
        "section": container.section,
        "index": container.index,
        "name": container.name,
        "image": image_form(container.image),
        "directory": container.directory,
        "root_directory": container.root_directory,
        "readonly": container.readonly,
        "unpack": container.unpack,
        "config": json.loads(container.config_json),
        "runtime": json.loads(container.runtime_json),
    }


def _file(file: FilePlan) -> Form:
    content: Form = {}
    if file.target:
        content = {"target": file.target}
    elif isinstance(file.data, Path):
        content = {"source": str(file.data)}
    elif file.data:
        content = {"contents": file.data.decode()}
    return {
        "path": file.path,
        "kind": file.kind.name.lower(),
        "mode": f"{file.mode:04o}",
        "uid": file.uid,
        "gid": file.gid,
        **content,
    }
