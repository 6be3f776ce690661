from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from moby.outputs.segments import join, joining
from moby.rootfs.pieces import Piece


def pieces(folder: Path) -> list[Piece]:
    made = []
    for number, size in enumerate((3, 0, 70_000)):
        path = folder / f"piece{number}"
        path.write_bytes(bytes([number + 1]) * size)
        made.append(Piece(path, head=b"head", tail=b"end"[:number]))
    return made


def test_pieces_joined_while_others_are_made_are_the_same_file(tmp_path: Path) -> None:
    given = pieces(tmp_path)
    with (tmp_path / "at-once").open("wb") as out:
        join(given, out)
    with (tmp_path / "beside").open("wb", buffering=0) as raw, joining(raw) as take:
        for piece in given:
            take(piece)
    assert (tmp_path / "beside").read_bytes() == (tmp_path / "at-once").read_bytes()


def test_a_piece_that_cannot_be_read_fails_the_whole(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb", buffering=0) as out, pytest.raises(FileNotFoundError), joining(out) as take:
        take(Piece(tmp_path / "missing"))


def test_no_more_pieces_are_made_once_one_failed(tmp_path: Path) -> None:
    made = 0
    full = Path("/dev/full")
    no_space = pytest.raises(OSError, match="No space left")
    with full.open("wb", buffering=0) as out, no_space, joining(out) as take:
        while made < 500:
            take(pieces(tmp_path)[2])
            made += 1
            time.sleep(0.01)
    assert made < 500


def test_what_fails_the_maker_ends_the_joining(tmp_path: Path) -> None:
    before = threading.active_count()
    with (tmp_path / "out").open("wb", buffering=0) as out, pytest.raises(ZeroDivisionError), joining(out) as take:
        take(pieces(tmp_path)[2])
        raise ZeroDivisionError
    assert threading.active_count() == before
