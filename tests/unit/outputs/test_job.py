from __future__ import annotations

import sys
from pathlib import Path

import pytest

from moby import proc
from moby.artifact import Architecture
from moby.errors import ConfigError
from moby.outputs import FORMATS, check, default_name, job
from moby.outputs.format import File, Format


def nothing(*_: object) -> None:
    raise AssertionError("nothing is built by a check")


def row(name: str, suffix: str, **settings: object) -> Format:
    return Format(
        name=name,
        description="",
        files=(File(role="disk", suffix=suffix),),
        write=nothing,
        **settings,  # type: ignore[arg-type]  # a test's shorthand
    )


TABLE = {
    each.name: each
    for each in (
        row("vhd", ".vhd"),
        row("dynamic-vhd", ".vhd"),
        row("raw", ".img", architectures=frozenset((Architecture.AMD64,))),
        row("stream", ".stream", streamable=True),
    )
}


def chosen(
    *formats: str, name: str = "", directory: Path = Path(), output: str = "", architecture: str = "amd64"
) -> job.Job:
    return job.choose(TABLE, formats=formats, name=name, directory=directory, output=output, architecture=architecture)


@pytest.mark.parametrize(
    ("formats", "options", "message"),
    [
        (["tar", "kernel+initrd"], {"name": "a"}, "format type tar must be the only format specified"),
        (["kernel+inird"], {"name": "a"}, "error parsing formats: unknown format type kernel+inird"),
        (["tar"], {"output": "x", "name": "a"}, "the -output option cannot be specified with -name"),
        (["tar"], {"output": "x", "directory": Path("a")}, "the -output option cannot be specified with -dir"),
        (
            ["kernel+initrd"],
            {"output": "x"},
            "the -output option cannot be specified for build type kernel+initrd as it cannot be streamed",
        ),
        ([], {"name": ""}, "'' cannot be the name of an output"),
        ([], {"name": "../.."}, "'../..' cannot be the name of an output"),
    ],
)
def test_contradictions_are_refused_with_the_originals_words(
    formats: list[str], options: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check(formats=formats, architecture="amd64", **options)  # type: ignore[arg-type]  # a table has one type
    assert caught.value.what == message


def test_output_goes_with_one_format_only() -> None:
    with pytest.raises(ConfigError, match="only be specified when generating a single output format"):
        chosen("vhd", "raw", output="x")


def test_an_unknown_format_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError) as caught:
        check(formats=["kernel+initd"], name="a", architecture="amd64")
    assert caught.value.fix == "did you mean kernel+initrd?"


def test_formats_that_write_the_same_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"formats vhd and dynamic-vhd both write .*/a\.vhd"):
        chosen("vhd", "raw", "dynamic-vhd", name="a", directory=tmp_path)


def test_a_format_is_refused_for_an_architecture_it_has_not() -> None:
    with pytest.raises(ConfigError, match="format raw cannot be made for arm64") as caught:
        chosen("raw", name="a", architecture="arm64")
    assert caught.value.fix == "it can be made for amd64"


def test_a_format_named_twice_is_made_once() -> None:
    assert [format.name for format in chosen("vhd", "vhd", name="a").formats] == ["vhd"]


def test_without_formats_it_is_the_default_or_a_stream() -> None:
    assert [format.name for format in check(formats=(), name="a", architecture="amd64").formats] == ["kernel+initrd"]
    assert [format.name for format in check(formats=(), output="-", architecture="amd64").formats] == ["tar"]


def test_files_are_named_after_the_build(tmp_path: Path) -> None:
    made = check(formats=["kernel+initrd"], name="web", directory=tmp_path, architecture="amd64")
    assert {role: path.name for role, path in made.files(made.formats[0])} == {
        "kernel": "web-kernel",
        "initrd": "web-initrd.img",
        "cmdline": "web-cmdline",
    }


def test_a_directory_that_is_missing_or_in_the_way_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no directory") as caught:
        check(formats=["tar"], name="a", directory=tmp_path / "gone", architecture="amd64")
    assert caught.value.fix == f"mkdir -p {tmp_path / 'gone'}"
    with pytest.raises(ConfigError, match="the output is a directory"):
        check(formats=["tar"], output=tmp_path, architecture="amd64")


@pytest.mark.parametrize(
    ("source", "name"),
    [("web.yml", "web"), ("a/b/web.yaml", "web"), ("a.b.yml", "a.b"), ("-", "moby"), ("https://x/y/web.yml", "web")],
)
def test_the_name_comes_from_the_last_file(source: str, name: str) -> None:
    assert default_name(source) == name


def test_every_row_of_the_table_is_filled() -> None:
    for name, format in FORMATS.items():
        assert format.name == name
        assert format.description
        assert format.files
        assert not format.streamable or len(format.files) == 1
        assert len({file.role for file in format.files}) == len(format.files)


def test_the_table_knows_each_format_by_its_name() -> None:
    assert {name: FORMATS[name].name for name in FORMATS} == {name: name for name in FORMATS}
    assert len(FORMATS) == len(set(FORMATS))


def test_choosing_a_format_imports_no_other() -> None:
    code = "import sys, moby.outputs as o; o.check(formats=['kernel+initrd'], name='x', architecture='amd64')"
    loaded = proc.run([sys.executable, "-c", f"{code}; print(*sys.modules)"]).decode().split()
    assert not {"moby.outputs.uki", "moby.formats.squashfs", "moby.formats.qcow2", "cryptography"} & set(loaded)
