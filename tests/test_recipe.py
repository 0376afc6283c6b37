from pathlib import Path

import pytest

from mnedge import recipe
from mnedge.errors import InputError


def _load(tmp_path: Path, text: str) -> recipe.Recipe:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    return recipe.load(str(path))


@pytest.mark.parametrize("name", recipe.names())
def test_every_recipe_that_comes_along_loads(name: str) -> None:
    assert isinstance(recipe.load(name), recipe.Recipe)


def test_flags_win_over_the_recipe(tmp_path: Path) -> None:
    found = _load(tmp_path, "variant: v1\nalpha: 0.25\ntargets: [cpu]\n")
    assert found.with_flags({"alpha": 0.5, "variant": None, "targets": ()}) == recipe.Recipe(variant="v1", alpha=0.5)


def test_paths_are_relative_to_the_recipe(tmp_path: Path) -> None:
    assert _load(tmp_path, "data: photos\nweights: demo\n").data == str(tmp_path / "photos")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("variant: v1\nresolutoin: 96\n", r"r\.yaml line 2: unknown key 'resolutoin'; did you mean 'resolution'"),
        ("variant: v1\n\nalpha: wide\n", r"r\.yaml line 3: alpha is 'wide'; it is a number above 0"),
        ("int8: 1\n", r"line 1: int8 is 1; it is true or false"),
        ("resolution: true\n", r"line 1: resolution is True"),
        ("gates:\n  min_topp1: 0.5\n", r"line 1: unknown gate 'min_topp1'; did you mean 'min_top1'"),
        ("gates: {min_top1: high}\n", r"gate min_top1 is 'high'; it is a number from 0 to 1: lowest"),
        ("method: magic\n", r"unknown method 'magic'"),
        ("- v1\n", "is a list of `key: value` lines"),
        ("a: [1\n", "is not YAML"),
        ("", "is a list of `key: value` lines"),
        ("targets: []\n", r"line 1: targets is \[\]; it is a list of names, at least one"),
        ("gates: {min_top1: 0.5}\nint8: true\ngates: {max_size_kib: 1}\n", r"line 3: 'gates' stands in line 1 already"),
        ("gates:\n  parity: 0.5\n  parity: 0.6\n", r"line 3: 'parity' stands in line 2 already"),
        ("allow_float: [1]\n", r"line 1: allow_float is \[1\]; it is a list of names"),
        ("targets: [[cpu]]\n", r"line 1: targets is \[\['cpu'\]\]; it is a list of names"),
        ("alpha: .nan\n", r"line 1: alpha is nan; it is a number above 0"),
        ("alpha: .inf\n", r"alpha is inf"),
        ("alpha: -1\n", r"alpha is -1"),
        ("resolution: 0\n", r"line 1: resolution is 0; it is a whole number from 1 to 4096"),
        ("classes: 0\n", r"classes is 0; it is a whole number from 1"),
        ("output_stride: 0\n", r"output_stride is 0"),
        ("seed: -1\n", r"seed is -1; it is a whole number from 0"),
        ("threads: 1000000\n", r"threads is 1000000"),
        ("gates: {min_top1: .nan}\n", r"line 1: gate min_top1 is nan; it is a number from 0 to 1"),
        ("gates: {min_top1: 95}\n", r"line 1: gate min_top1 is 95; it is a number from 0 to 1"),
        ("gates: {min_top1: true}\n", r"line 1: gate min_top1 is True; it is a number"),
        ("gates: {max_p50_ms: .inf}\n", r"gate max_p50_ms is inf; it is a number of at least 0"),
        ("gates: {int8_only: 1}\n", r"gate int8_only is 1; it is true or false"),
        ("tolerances: {p50_ms: -0.1}\n", r"tolerance p50_ms is -0.1"),
        ("release: {vesion: '1'}\n", r"line 1: unknown entry of release 'vesion'; did you mean 'version'"),
        ("release: {version: 1.0}\n", r"line 1: version of release is 1\.0; it is text, in quotes"),
        ("gates: {1: 2}\n", r"line 1: a key is a name"),
        ("1: 2\n", r"line 1: a key is a name"),
        ("a: &x [1]\nb: *x\n", r"line 1: it is referred to with \*"),
        ("a: &x {y: *x}\n", r"is referred to with \*"),
        ("a: 2024-13-45\n", "is not YAML that can be read"),
        ("[" * 3000, "is not YAML"),
        ("variant: !!python/object/apply:os.system [ls]\n", "is not YAML"),
    ],
)
def test_bad_recipes_say_where_and_what(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        _load(tmp_path, text)


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(InputError, match=r"did you mean 'demo'"):
        recipe.load("demoo")


def test_flags_are_held_to_the_same_limits() -> None:
    with pytest.raises(InputError, match="classes is 0"):
        recipe.Recipe().with_flags({"classes": 0})
    with pytest.raises(InputError, match="resolution is 0"):
        recipe.Recipe().with_flags({"resolution": 0})
    with pytest.raises(InputError, match="alpha is nan"):
        recipe.Recipe().with_flags({"alpha": float("nan")})


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a" * (2 << 20)])
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.yaml").write_bytes(content)
    with pytest.raises(InputError, match=r"r\.yaml (cannot be read|has more than)"):
        recipe.load(str(tmp_path / "r.yaml"))


def test_a_name_longer_than_a_file_system_takes() -> None:
    with pytest.raises(InputError, match="no recipe file"):
        recipe.load("x" * 300)
