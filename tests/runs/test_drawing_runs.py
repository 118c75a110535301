"""Runs whose policy draws its actions: one seed gives one result, with any workers, and after a stop."""

from dataclasses import replace

import pytest
from small_runs import TINY_DAGGER, assert_same_run, rows_of, run_in, stop_after

from rl_il.runs.experiment import resume


@pytest.mark.parametrize(("head", "window"), [("mixture", {}), ("flow", {"chunk": 4, "execute": 3, "history": 2})])
def test_a_stopped_run_with_two_workers_ends_as_a_whole_one_with_one(head, window, tmp_path, monkeypatch):
    config = replace(TINY_DAGGER, env_name="LunarLanderContinuous-v3", n_iter=2, eval_interval="8", val_fraction=0.2)
    config = replace(config, head=head, **window)
    run_in(tmp_path / "whole", config)
    stop_after(monkeypatch, tmp_path / "run", replace(config, num_workers=2), 4)
    resume(tmp_path / "run", num_workers=2, verbose=False)
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    last = rows_of(tmp_path / "whole")[-1]
    assert float(last["Validation MAE"]) > 0
    assert window or float(last["Eval_ExpertDistance"]) > 0
