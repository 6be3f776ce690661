"""A context owns its HTTP client."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from moby.context import Context


def made(folder: Path) -> Context:
    return Context.from_environment({"HOME": str(folder)})


def test_a_context_has_one_client_and_shares_it_with_no_other(tmp_path: Path) -> None:
    context = made(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        (client,) = {task.result() for task in [pool.submit(context.client) for _ in range(8)]}
    assert context.client() is client
    assert made(tmp_path).client() is not client
    assert replace(context, debian_mirror="http://m").client() is not client
    assert made(tmp_path) == made(tmp_path)


def test_the_client_is_closed_with_its_context(tmp_path: Path) -> None:
    client = made(tmp_path).client()
    gc.collect()
    assert client.is_closed
