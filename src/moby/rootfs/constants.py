"""Values that every part of the root file system shares."""

from __future__ import annotations

# 2017-04-18 16:30:00 UTC: the time LinuxKit gives whatever it generates, so that builds can be compared with its own.
FIXED_MTIME_S = 1492533000
