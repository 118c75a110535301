import io
import json
import os
import pickle
import re
import shutil
import stat

import numpy as np
import pytest
import torch
from course_files import RunsCode
from systems import WINDOWS

from rl_il.errors import InputError, RemovedError
from rl_il.files import (
    atomic_write,
    check_writable,
    data_folder,
    in_use,
    load_torch,
    one_line,
    reading,
    safe_name,
    to_json,
    write_json,
)


def test_a_new_file_is_readable_and_its_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "x.bin"
    with atomic_write(path) as file:
        file.write(b"1")
    assert path.read_bytes() == b"1"
    assert WINDOWS or stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_folder_in_use_is_not_made_again(tmp_path):
    folder = tmp_path / "a" / "run"
    folder.mkdir(parents=True)
    with in_use(folder):
        for name in ("x.bin", "b/c/x.bin"):
            with atomic_write(folder / name):
                pass
            assert (folder / name).exists()
        with pytest.raises(RemovedError), atomic_write(folder / "y.bin"):
            shutil.rmtree(folder.parent)
        for name in ("x.bin", "b/c/x.bin"):
            with pytest.raises(RemovedError, match=re.escape(str(folder))), atomic_write(folder / name):
                pass
        assert not folder.parent.exists()
        with atomic_write(tmp_path / "d/x.bin"):  # in another folder
            pass
    with atomic_write(folder / "x.bin"):
        pass


def test_a_copy_in_the_place_of_a_folder_in_use_is_not_taken_for_it(tmp_path):
    folder, copy = tmp_path / "run", tmp_path / "copy"
    folder.mkdir()
    with in_use(folder):
        shutil.copytree(folder, copy)
        folder.rename(tmp_path / "original")
        copy.rename(folder)
        with pytest.raises(RemovedError, match=re.escape(str(folder))), atomic_write(folder / "b/x.bin"):
            pass
        assert [*folder.iterdir()] == []
        folder.rmdir()
        (tmp_path / "original").rename(folder)  # it is there again
        with atomic_write(folder / "b/x.bin"):
            pass


def test_readers_see_the_old_file_until_the_block_ends(tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old, and longer")
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old, and longer"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    with pytest.raises(error), atomic_write(path) as file:
        file.write(b"half of the new")
        raise error
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.bin"]


def test_a_failed_rename_leaves_no_temporary_file(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", refuse)
    path = tmp_path / "x.bin"
    with pytest.raises(InputError, match=r"x\.bin.*disk full"), atomic_write(path) as file:
        file.write(b"new")
    assert os.listdir(tmp_path) == []


def test_the_bytes_are_on_disk_before_the_name_changes(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append("fsync"), fsync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda *paths: (calls.append("replace"), replace(*paths)))
    with atomic_write(tmp_path / "x.bin") as file:
        file.write(b"1")
        assert calls == []
    assert calls == ["fsync", "replace", "fsync"]


def test_json_has_null_for_nan_and_infinity(tmp_path):
    value = {"a": float("nan"), "b": [float("inf"), 1.5, {"c": -float("inf")}], "d": (np.float64("nan"), True, "x")}
    write_json(tmp_path / "x.json", value)
    text = (tmp_path / "x.json").read_text()
    assert json.loads(text) == {"a": None, "b": [None, 1.5, {"c": None}], "d": [None, True, "x"]}
    assert "NaN" not in text and "Infinity" not in text
    assert text.endswith("}\n")
    assert to_json({"a": [1, float("nan")]}) == '{"a": [1, null]}'


def test_a_file_that_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "file").touch()
    check_writable(tmp_path / "new" / "folder" / "x.npz")
    for path in (tmp_path, tmp_path / "file" / "x.npz"):
        with pytest.raises(InputError, match=re.escape(str(path))):
            check_writable(path)
    assert os.listdir(tmp_path) == ["file"]


# Reading ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RecursionError(), OSError(13, "denied"), RuntimeError("a\nb\x1b" * 10**6)])
def test_any_exception_for_a_damaged_file_becomes_one_input_error(error):
    with pytest.raises(InputError) as raised, reading("kind of file"):
        raise error
    message = str(raised.value)
    assert "kind of file" in message and message.isprintable() and len(message) < 400


@pytest.mark.parametrize("error", [InputError("x: no layers"), KeyboardInterrupt()])
def test_input_errors_and_interrupts_are_not_changed(error):
    with pytest.raises(type(error)) as raised, reading("kind of file"):
        raise error
    assert raised.value is error


def test_a_message_is_one_line():
    assert one_line("a\nb\x1b[2J") == "a b [2J"
    assert len(one_line("x" * 10**6)) == 1000


def test_tensors_come_back_on_the_cpu(tmp_path):
    value = {
        "a": torch.arange(6.0).reshape(2, 3).T,
        "b": [1, (2.5, None, "x")],
        "c": torch.ones(2, dtype=torch.bfloat16),
    }
    torch.save(value, tmp_path / "x.pt")
    for file in (tmp_path / "x.pt", str(tmp_path / "x.pt"), io.BytesIO((tmp_path / "x.pt").read_bytes())):
        loaded = load_torch(file)
        assert loaded["b"] == value["b"]
        for name in "ac":
            assert torch.equal(loaded[name], value[name]) and loaded[name].device.type == "cpu"


@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_code_in_a_torch_file_is_not_run(tmp_path, write):
    for value in (RunsCode(tmp_path / "ran"), torch.nn.Linear(1, 1), np.ones(3, dtype=object)):
        write({"a": value}, tmp_path / "x.pt")
        with pytest.raises(InputError, match=r"x\.pt") as error:
            load_torch(tmp_path / "x.pt")
        assert "weights_only" not in str(error.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", None])
def test_a_damaged_torch_file_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.pt"):
        load_torch(tmp_path / "x.pt")


# Names and places ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("q1_bc_LunarLander-v3", "q1_bc_LunarLander-v3"),
        ("my_env:Reach-v0", "my_env-Reach-v0"),
        ('a/b\\c<d>|e?*"f\n', "a-b-c-d--e---f-"),
        ("size=8,loss=nll", "size=8,loss=nll"),
        ("ends. .", "ends---"),
        ("..", "--"),
        ("con", "_con"),
        ("NUL.npz", "_NUL.npz"),
        ("com1", "_com1"),
        ("console", "console"),
    ],
)
def test_names_are_those_that_every_system_allows(text, name):
    assert safe_name(text) == name


def test_new_runs_are_in_the_working_folder_or_where_the_variable_says(tmp_path, monkeypatch):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        assert data_folder() == tmp_path / folder / "data"
    monkeypatch.setenv("RL_IL_DATA", "runs")
    assert data_folder() == tmp_path / "b" / "runs"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("RL_IL_DATA", "~/mine")
    assert data_folder() == tmp_path / "mine"


def test_a_folder_that_cannot_be_opened_is_not_synced(tmp_path, monkeypatch):
    open_file = os.open

    def refuse_folders(path, *args, **kwargs):
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied", str(path))
        return open_file(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse_folders)  # as on Windows, which has no flag for a folder either
    monkeypatch.delattr(os, "O_DIRECTORY", raising=False)
    write_json(tmp_path / "x.json", [1])
    assert (tmp_path / "x.json").read_bytes() == b"[\n  1\n]\n"
