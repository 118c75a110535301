"""Whole runs of policies that plan several actions and see several observations."""

import json
import sys

import pytest
from calling import assert_refused, call_script
from fakes import walk
from small_runs import assert_same_run, corridor, run_in, stop_after

from rl_il.config import RunConfig
from rl_il.datasets import save_trajectories
from rl_il.errors import InputError
from rl_il.options import CommandParser, add_arguments, from_arguments, from_json
from rl_il.policies.policy_file import load_policy
from rl_il.runs.experiment import resume

WINDOW = {"chunk": 2, "execute": 1, "history": 3, "beta_decay": 0.5}


def test_a_run_is_the_same_with_workers_and_after_a_stop(tmp_path, monkeypatch):
    config = corridor(tmp_path / "files", **WINDOW)
    run_in(tmp_path / "one", config)
    run_in(tmp_path / "two", config, num_workers=2)
    assert_same_run(tmp_path / "one", tmp_path / "two")
    stop_after(monkeypatch, tmp_path / "stopped", config, 2)
    resume(tmp_path / "stopped", verbose=False)
    assert_same_run(tmp_path / "one", tmp_path / "stopped")


def test_the_policy_of_a_run_is_evaluated_with_its_window(tmp_path, monkeypatch, capsys):
    run_in(tmp_path / "run", corridor(tmp_path / "files", chunk=3, do_dagger=False, n_iter=1))
    status, out, _ = call_script(f"evaluate --policy {tmp_path / 'run'} --episodes 5 --json", monkeypatch, capsys)
    assert status == 0
    assert json.loads(out)["episodes"] == 5


@pytest.mark.parametrize(
    ("settings", "flag"),
    [({"chunk": 2, "execute": 3}, "--execute"), ({"chunk": 0}, "--chunk"), ({"history": 0}, "--history")],
)
def test_numbers_that_do_not_fit_are_errors(settings, flag):
    with pytest.raises(InputError, match=flag):
        RunConfig(**settings)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ("--chunk 6", "--chunk 6"),
        ("--chunk 5 --val_fraction 0.4", "--val_fraction"),
        ("--chunk 2 --execute 3", "--execute"),
        ("--chunk 4 --max_replay_buffer_size 3", "--max_replay_buffer_size"),
        ("--n_epochs 2 --eval_interval 1,3", "--eval_interval 1,3"),  # 8 steps in minibatches of 100: 2 in all
        ("--head mixture", "--head mixture"),
        ("--head flow --chunk 2", "--head flow"),
        ("--normalize_acs", "--normalize_acs"),
        ("--env_name gym_pusht/PushT-v0", "gym_pusht"),
        ("--expert_data nowhere.npz", "nowhere.npz"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_there_is_a_folder(flags, named, tmp_path, monkeypatch, capsys):
    config = corridor(tmp_path / "files")
    monkeypatch.setitem(sys.modules, "gym_pusht", None)  # a package that is not installed
    monkeypatch.setenv("RL_IL_DATA", str(tmp_path / "data"))
    given = f"--env_name Corridor-v0 --expert_data {config.expert_data} -epf {config.expert_policy_file} {flags}"
    called = call_script(f"run_hw1 {given}", monkeypatch, capsys)
    assert_refused((called[0], "", called[2]), named)
    assert "resume" not in called[2]
    assert not (tmp_path / "data").exists()


def test_the_longest_chunk_that_an_episode_has_is_trained(tmp_path):
    """The demonstrations have 3 and 5 steps; the config alone would accept any length of a chunk."""
    for chunk, pad in ((5, False), (9, True)):
        config = corridor(tmp_path / "files", chunk=chunk, pad_chunks=pad, do_dagger=False, n_iter=1)
        result = run_in(tmp_path / f"run_{chunk}", config)
        assert (result.summary["status"], result.summary["gradient_steps"]) == ("finished", 20)
        assert load_policy(result.folder / "policy_itr_0.pt").chunk == chunk


@pytest.mark.parametrize(
    ("settings", "named", "others"),
    [
        ({"chunk": 10}, "--chunk 10", "--val_fraction --max_replay_buffer_size"),
        ({"chunk": 10, "val_fraction": 0.5}, "--val_fraction 0.5", "--max_replay_buffer_size"),
        ({"chunk": 5, "max_replay_buffer_size": 6}, "--max_replay_buffer_size 6", "--val_fraction --pad_chunks"),
    ],
)
def test_the_settings_that_leave_no_chunk_are_named(tmp_path, settings, named, others):
    config = corridor(tmp_path / "files", **settings)
    save_trajectories(config.expert_data, [walk(9), walk(3)])
    with pytest.raises(InputError) as error:
        run_in(tmp_path / "run", config)
    assert named in str(error.value) and not any(other in str(error.value) for other in others.split())


def test_the_old_name_of_history_is_still_accepted():
    assert from_json(RunConfig, {"frame_stack": 3}).history == 3
    parser = CommandParser(None)
    add_arguments(parser, RunConfig)
    assert from_arguments(RunConfig, parser.parse_args(["--frame_stack", "5"])).history == 5
