"""From YAML files to a plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from moby import decision, log
from moby.context import Context
from moby.oci.store import Store
from moby.options import BuildOptions
from tests.support import cosign


@pytest.mark.parametrize("given", [True, False])
def test_keys_are_missed_once_where_none_are_given_anywhere(
    given: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "f.yml"
    file.write_text("init: []\ntrust: {org: [a]}\n")
    keys = (str(cosign.FOLDER / "cosign.pub"),) if given else ()
    context = Context.from_environment({"HOME": str(tmp_path)})
    with log.reporting(log.Console()):
        made = decision.decide(file, Store(context.store), context=context, options=BuildOptions(keys=keys))
    said = [each for each in made.warnings if "no signature is checked" in each]
    assert len(said) == (0 if given else 1)
    assert not capsys.readouterr().err
