"""`latest`, the name of the newest run folder, wherever a run is accepted."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from calling import assert_refused, call_script
from run_folders import write_run
from small_runs import corridor, run_in

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.files import latest_run, named_run
from rl_il.report.runs import find_runs
from rl_il.runs.experiment import run
from rl_il.studies.diagnosis.subjects import find_policies

BC = RunConfig(env_name="Corridor-v0", n_demos=2)


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """Use a new folder as the one in which runs are made."""
    monkeypatch.setenv("RL_IL_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def written_at(folder: Path, seconds: int) -> Path:
    """Return the run folder, whose config.json gets this time."""
    os.utime(folder / "config.json", (seconds, seconds))
    return folder


def test_the_newest_is_the_one_whose_config_was_written_last(data, capsys):
    old = written_at(write_run(data / "old", BC, {0: [1, 3]}), 100)
    written_at(write_run(data / "a" / "too" / "deep", BC, {0: [1, 3]}), 900)
    assert latest_run() == old
    below = written_at(write_run(data / "demo" / "bc_seed_1", replace(BC, seed=2), {0: [1, 3]}), 200)
    os.utime(old / "summary.json", (300, 300))
    assert latest_run() == below
    assert named_run("latest") == str(below)
    assert str(below) in capsys.readouterr().err  # not on stdout, which may be JSON
    assert named_run("elsewhere") == "elsewhere"
    assert [found.folder for found in find_runs([Path("latest")])] == [below]


@pytest.mark.parametrize("content", ["{", "3", json.dumps({"teaching": {}})])
def test_what_is_no_run_is_never_the_latest(data, content):
    with pytest.raises(InputError, match="latest"):
        latest_run()
    run_folder = written_at(write_run(data / "run", BC, {0: [1, 3]}), 100)
    (data / "teach_x").mkdir()
    (data / "teach_x" / "config.json").write_text(content)
    assert latest_run() == run_folder


def test_a_run_keeps_the_path_of_the_expert_that_was_the_latest(data, tmp_path):
    config = corridor(tmp_path / "files", do_dagger=False, n_iter=1)
    expert = run_in(data / "expert", config).folder
    result = run(replace(config, expert_policy_file="latest", logdir=str(data / "clone")), verbose=False)
    assert json.loads((result.folder / "config.json").read_text())["config"]["expert_policy_file"] == str(expert)


def test_the_commands_take_it(data, tmp_path, monkeypatch, capsys):
    assert_refused(call_script("run_hw1 --resume latest", monkeypatch, capsys), "latest")
    assert_refused(call_script("run_hw1 --expert_policy_file latest", monkeypatch, capsys), "latest")
    assert_refused(call_script("report latest", monkeypatch, capsys), "latest")
    folder = run_in(data / "run", corridor(tmp_path / "files", do_dagger=False, n_iter=1)).folder
    status, out, _ = call_script("run_hw1 --resume latest", monkeypatch, capsys)
    assert (status, str(folder) in out) == (0, True)
    (found,) = find_policies(["latest"])
    assert found.run.folder == folder
