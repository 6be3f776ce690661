"""The kinds of file that images are exported to; here and not in ``export.py``, as a command line needs no more."""

from __future__ import annotations

import enum


class Form(enum.StrEnum):
    """What the file is."""

    OCI = "oci"
    DOCKER = "docker"
    FILESYSTEM = "filesystem"
