import json
import os
import stat

import numpy as np
import pytest

from rl_il.errors import InputError
from rl_il.files import REPOSITORY, atomic_write, check_writable, to_json, write_json


def test_the_repository_holds_the_package_and_the_experts():
    assert (REPOSITORY / "rl_il").is_dir()
    assert (REPOSITORY / "experts").is_dir()


def test_a_write_replaces_the_file(tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old, and longer")
    with atomic_write(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


def test_until_the_block_ends_readers_see_the_old_file(tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    with pytest.raises(error), atomic_write(path) as file:
        file.write(b"half of the new")
        raise error
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.bin"]


def test_an_error_leaves_no_new_file(tmp_path):
    with pytest.raises(ValueError), atomic_write(tmp_path / "x.bin"):
        raise ValueError
    assert os.listdir(tmp_path) == []


def test_a_failed_rename_leaves_no_temporary_file(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", refuse)
    path = tmp_path / "x.bin"
    with pytest.raises(InputError, match=r"x\.bin: cannot be written \(disk full\)"), atomic_write(path) as file:
        file.write(b"new")
    assert os.listdir(tmp_path) == []


def test_others_may_read_the_file(tmp_path):
    with atomic_write(tmp_path / "x.bin"):
        pass
    assert stat.S_IMODE((tmp_path / "x.bin").stat().st_mode) == 0o644


def test_folders_on_the_way_are_made(tmp_path):
    with atomic_write(tmp_path / "a" / "b" / "x.bin") as file:
        file.write(b"1")
    assert (tmp_path / "a" / "b" / "x.bin").read_bytes() == b"1"


def test_the_bytes_are_on_disk_before_the_name_changes(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append("fsync"), fsync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda *paths: (calls.append("replace"), replace(*paths)))
    with atomic_write(tmp_path / "x.bin") as file:
        file.write(b"1")
        assert calls == []
    assert calls == ["fsync", "replace", "fsync"]


def test_json_has_null_for_what_is_not_a_number(tmp_path):
    value = {"a": float("nan"), "b": [float("inf"), 1.5, {"c": -float("inf")}], "d": (np.float64("nan"), True, "x")}
    write_json(tmp_path / "x.json", value)
    text = (tmp_path / "x.json").read_text()
    assert json.loads(text) == {"a": None, "b": [None, 1.5, {"c": None}], "d": [None, True, "x"]}
    assert "NaN" not in text and "Infinity" not in text
    assert text.endswith("}\n")


def test_to_json_is_one_line_unless_indented():
    assert to_json({"a": [1, float("nan")]}) == '{"a": [1, null]}'


def test_a_file_that_could_not_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    check_writable(tmp_path / "new" / "folder" / "x.npz")
    for path, words in ((tmp_path, "is a folder"), (tmp_path / "file" / "x.npz", "cannot be written into")):
        with pytest.raises(InputError, match=words):
            check_writable(path)
    assert os.listdir(tmp_path) == ["file"]
