from __future__ import annotations

from collections.abc import Callable

import pytest

Say = Callable[[str], None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Prints although the test passes."""

    def printed(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}", flush=True)

    return printed
