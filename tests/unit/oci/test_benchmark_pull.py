"""The pull benchmark runs, and a pull stays small in memory."""

from __future__ import annotations

from pathlib import Path

from benchmarks import pull

_MOST_MIB = 80


def test_a_pull_beside_skopeo_s(tmp_path: Path) -> None:
    found = pull.measure(tmp_path, 48, 1)
    assert found["moby_peak_mib"] <= _MOST_MIB
    assert found["ratio"] > 0
    assert found["skopeo_s"] > 0
