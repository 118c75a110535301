"""The command `rl-il`, and the texts that name a command as the user calls it."""

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from calling import assert_refused
from test_layers import modules_after

from rl_il import commands, files, listing
from rl_il.commands import COMMANDS, command_text, for_user, install_text
from rl_il.files import REPOSITORY
from rl_il.runs.provenance import _git_commit, command_line

EXAMPLE = 'python scripts/run_hw1.py --n_iter 2 (as record_demos.py; pip install -e ".[hdf5]"; my_report.py)'
TRANSLATED = 'rl-il run --n_iter 2 (as rl-il record; pip install "rl_il[hdf5]"; my_report.py)'


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Return a function that calls `python -m rl_il` in an empty folder: its status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def called(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rl-il", *words])
        status = 0
        try:
            runpy.run_module("rl_il", run_name="__main__")
        except SystemExit as end:
            status = end.code or 0
        return status, *capsys.readouterr()

    return called


def test_every_command_has_a_script():
    scripts = {path.stem for path in (REPOSITORY / "scripts").glob("[!_]*.py")}
    assert scripts - {*COMMANDS.values()} == {"train_expert", "benchmark", "chaos", "soak"}
    assert {*COMMANDS.values()} < scripts


def test_texts_name_scripts_in_a_checkout_and_commands_elsewhere(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["scripts/run_hw1.py"])
    assert command_text("run_ablation") == "python scripts/run_ablation.py"
    assert install_text("zarr") == 'pip install -e ".[zarr]"'
    assert for_user(EXAMPLE) == EXAMPLE
    with monkeypatch.context() as patch:
        patch.setattr(commands, "in_checkout", lambda: False)
        assert for_user(EXAMPLE) == TRANSLATED
        assert command_text("run_ablation") == "rl-il ablate"
    monkeypatch.setattr(sys, "argv", ["rl-il run", "--seed", "2"])
    assert for_user(EXAMPLE) == TRANSLATED
    assert command_line() == ["rl-il", "run", "--seed", "2"]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_is_its_scripts_and_names_it(call, command):
    status, out, _ = call(command, "--help")
    assert status == 0
    assert out.startswith(f"usage: rl-il {command} ")
    assert f"    rl-il {command}" in out and ".py" not in out.replace("cs285.py", "")


def test_the_list_of_commands_imports_nothing_slow(call):
    status, out, _ = call()
    assert status == 0
    assert {line.split()[0] for line in out.splitlines() if line.startswith("  ")} == {*COMMANDS, "list"}
    loaded = modules_after("sys.argv = ['x', '--help']; import runpy; runpy.run_module('rl_il', run_name='__main__')")
    assert "rl_il" in loaded
    assert not loaded & {"torch", "gymnasium", "numpy", "matplotlib"}


@pytest.mark.parametrize(("name", "near"), [("runn", "run"), ("run_ablation", "ablate"), ("x?", "--help")])
def test_an_unknown_command_is_one_line(call, name, near):
    assert_refused(call(name), name, near)


def test_mistakes_in_flags_name_the_command(call):
    assert_refused(call("run", "--lerning_rate", "1"), "rl-il run", "--learning_rate")
    assert_refused(call("evaluate", "--policy", "nowhere.pt", "--env_name", "MountainCar-v0"), "nowhere.pt")


def test_worker_processes_start_from_it(tmp_path):
    flags = "run --env_name MountainCar-v0 --num_agent_train_steps_per_iter 5 --eval_episodes 4 --ep_len 5"
    command = [sys.executable, "-m", "rl_il", *flags.split(), "--video_log_freq", "-1", "--num_workers", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stderr) == (0, "")
    (folder,) = (tmp_path / "data").iterdir()
    assert folder.name.startswith("q1_bc_MountainCar-v0_")


# What is listed ---------------------------------------------------------------------------------------------


def test_list_without_a_kind_lists_the_kinds(call):
    status, out, _ = call("list")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == ["kind", *listing.KINDS]
    assert_refused(call("list", "ruels"), "ruels", "rules")


@pytest.mark.parametrize("kind", listing.KINDS)
def test_each_row_says_what_it_is(call, kind):
    rows = listing.KINDS[kind].rows()
    width = len(rows[0])
    assert all(len(row) == width and row[0] and row[-1] for row in rows)
    status, out, _ = call("list", kind)
    assert status == 0
    assert all(row[0] in out for row in rows)
    assert f"your own: {for_user(listing.KINDS[kind].own)}" in out


def test_the_rows_hold_what_the_tables_hold():
    assert ["mse", "Return the mean squared difference between the distribution's mean and the label"] in (
        listing.KINDS["losses"].rows()
    )
    envs = {name: rest for name, *rest in listing.envs()}
    assert envs["LunarLander-v3"] == ["LunarLander-v3.npz", "100 episodes, 18,931 steps, mean return 287.4"]
    assert envs["Hopper-v4"][1] == envs["Hopper-v5"][1] and envs["CarRacing-v3"][0] == "car_driver"
    assert any(row[:2] == ["car_driver", "CarRacing-v3"] for row in listing.experts())
    readers = {row[1]: row[3] for row in listing.formats()}
    assert (readers["HDF5"], readers[".zip"]) == ("rl_il.datasets.hdf5:read", "rl_il.experts.sb3:load_sb3")


def test_lists_need_neither_torch_nor_an_optional_package():
    for kind in listing.KINDS:
        loaded = modules_after(f"from rl_il import listing; listing.KINDS[{kind!r}].rows()")
        assert not loaded & {"torch", "h5py", "zarr", "pyarrow"}


# Without a checkout -----------------------------------------------------------------------------------------


def test_an_installed_package_finds_its_own_copies(tmp_path, monkeypatch):
    assert files.shipped("experts", "Ant-v5.npz") == REPOSITORY / "experts" / "Ant-v5.npz"
    monkeypatch.setattr(files, "SHIPPED", tmp_path)
    assert files.shipped("data", "demos", "x.npz") == tmp_path / "data" / "demos" / "x.npz"
    assert not files.in_checkout()


def test_the_commit_of_a_folder_around_the_package_is_not_recorded(tmp_path, monkeypatch):
    identity = ["-c", "user.name=x", "-c", "user.email=x@x"]
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    subprocess.run(["git", "-C", tmp_path, *identity, "commit", "-q", "--allow-empty", "-m", "theirs"], check=True)
    monkeypatch.setattr("rl_il.runs.provenance.REPOSITORY", tmp_path)
    assert len(_git_commit()) == 40
    package = shutil.copytree(REPOSITORY / "rl_il" / "envs", tmp_path / "libraries")
    monkeypatch.setattr("rl_il.runs.provenance.REPOSITORY", Path(package))
    assert _git_commit() is None
