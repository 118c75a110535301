"""Pickles of other programs are read correctly from every protocol, and hostile ones run no code."""

import copyreg
import os
import pickle

import numpy as np
import pytest
from course_files import PROTOCOLS, demonstrations, expert_tree, write_pickle
from hostile_pickles import EXTENSION, MALFORMED, attacks
from systems import needs_shell

from rl_il.datasets.pickles import ALLOWED, load_pickle
from rl_il.errors import InputError


def assert_same_tree(got, expected):
    if isinstance(expected, dict):
        assert list(got) == list(expected)
        for key in expected:
            assert_same_tree(got[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        assert isinstance(got, list) and len(got) == len(expected)
        for g, e in zip(got, expected, strict=True):
            assert_same_tree(g, e)
    elif isinstance(expected, (np.ndarray, np.generic)):
        assert type(got) is type(expected)
        assert got.dtype.isnative and got.dtype == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(got, expected)
    else:
        assert type(got) is type(expected) and got == expected


TREES = {
    "2022": demonstrations(2022),
    "expert": expert_tree(),
    "plain": {"a": [1, 2.5, "x", None, True, b"\xff", b"", (3,)], "long": 2**80, "shared": [[1.0]] * 2},
    "arrays": {
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big endian": np.arange(3, dtype=">f4").astype(">f4"),
        "empty": np.zeros((0, 3), np.float32),
        "zero-dimensional": np.array(2.0),
        "bool": np.array([True, False]),
        "scalars": [np.float64(0.5), np.float32(-1), np.int64(7), np.bool_(True)],
    },
}


@pytest.mark.parametrize("old_names", [True, False])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", TREES)
def test_every_protocol_and_both_numpy_names_load(tmp_path, name, protocol, old_names):
    path = write_pickle(tmp_path / "x.pkl", TREES[name], protocol, old_names)
    assert (b"numpy._core" in path.read_bytes()) <= (not old_names)
    assert_same_tree(load_pickle(path), TREES[name])


def test_bytes_written_by_python_2_are_read(tmp_path):
    path = write_pickle(tmp_path / "x.pkl", TREES["2022"], 2, python2=True)
    assert b"_codecs" not in path.read_bytes()
    assert_same_tree(load_pickle(path), TREES["2022"])


def test_a_dtype_is_read_as_its_name(tmp_path):
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps({"dtype": np.dtype(np.float32)}))  # as in the pickle of a Gymnasium space
    assert load_pickle(path) == {"dtype": "float32"}


def test_arrays_are_writable(tmp_path):
    (array,) = load_pickle(write_pickle(tmp_path / "x.pkl", [np.zeros(3)], 5))
    array[:] = 1
    assert array.tolist() == [1, 1, 1]


@pytest.fixture
def extension():
    """Register an extension that this process has already used, so that pickle would take it from a cache."""
    copyreg.add_extension("os", "system", EXTENSION)
    copyreg._extension_cache[EXTENSION] = os.system
    yield
    copyreg.remove_extension("os", "system", EXTENSION)
    copyreg._extension_cache.pop(EXTENSION, None)


@pytest.mark.parametrize("kind", ["attacks", "malformed"])
def test_hostile_pickles_are_refused_and_run_no_code(tmp_path, monkeypatch, kind, extension):
    monkeypatch.chdir(tmp_path)
    hostile = attacks(tmp_path / "ran") if kind == "attacks" else MALFORMED
    assert len(hostile) >= 30
    before = {key: dict(vars(substitute)) for key, substitute in ALLOWED.items()}
    for attack, content in hostile.items():
        (tmp_path / "attack.pkl").write_bytes(content)
        copyreg._extension_cache[EXTENSION] = os.system
        asked = r"os\.system" if attack.endswith("os.system") else ""
        with pytest.raises(InputError, match=f"asks for .*{asked}" if kind == "attacks" else None):
            load_pickle(tmp_path / "attack.pkl")
            pytest.fail(attack)
        assert os.listdir(tmp_path) == ["attack.pkl"], f"{attack} ran"
    assert {key: dict(vars(substitute)) for key, substitute in ALLOWED.items()} == before


@needs_shell
def test_the_attacks_succeed_with_pythons_own_unpickler(tmp_path, extension):
    import pickle

    sentinel = tmp_path / "ran"
    for way in ("REDUCE of os.system", "OBJ of posix.system", "a class's own, protocol 4", "an extension"):
        pickle.loads(attacks(sentinel)[way])
        assert sentinel.exists(), way
        sentinel.unlink()


@pytest.mark.parametrize("name", ["missing.pkl", "."])
def test_a_file_that_cannot_be_opened_is_refused(tmp_path, name):
    with pytest.raises(InputError):
        load_pickle(tmp_path / name)
