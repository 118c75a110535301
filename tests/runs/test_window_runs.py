"""Whole runs of policies that plan several actions and see several observations."""

import json

import pytest
from calling import call_script
from small_runs import assert_same_run, corridor, run_in, stop_after

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.options import CommandParser, add_arguments, from_arguments, from_json
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


def test_the_old_name_of_history_is_still_accepted():
    assert from_json(RunConfig, {"frame_stack": 3}).history == 3
    parser = CommandParser(None)
    add_arguments(parser, RunConfig)
    assert from_arguments(RunConfig, parser.parse_args(["--frame_stack", "5"])).history == 5
