from __future__ import annotations

import io
from pathlib import Path

import pytest

from moby.errors import IntegrityError
from moby.formats.content import Content


def test_content_is_given_from_the_start_each_time(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"data")
    for content in (Content.of(b"data"), Content.file(tmp_path / "a")):
        assert content.size == 4
        for _ in range(2):
            out = io.BytesIO()
            content.copy(out, where="a")
            assert out.getvalue() == b"data"


@pytest.mark.parametrize("now", [b"dat", b"data+"])
def test_a_file_that_changed_its_size_is_refused(tmp_path: Path, now: bytes) -> None:
    (tmp_path / "a").write_bytes(b"data")
    content = Content.file(tmp_path / "a")
    (tmp_path / "a").write_bytes(now)
    with pytest.raises(IntegrityError, match=r"^EFI/a: 4 bytes announced, (3|more) given"):
        content.copy(io.BytesIO(), where="EFI/a")
