"""Runs with several networks: one seed gives one result, with any workers and after a stop."""

from dataclasses import replace

import numpy as np
import pytest
from calling import assert_refused, call_script
from small_runs import TINY, TINY_DAGGER, assert_same_run, rows_of, run_in, stop_after

from rl_il.policies.ensemble import EnsemblePolicySL
from rl_il.policies.policy_file import load_policy
from rl_il.runs.experiment import resume

CASES = {
    "own minibatches, averaged weights": {"average_weights": True, "dropout": 0.1, "normalize_obs": True},
    "shared minibatches, passes": {"ensemble_minibatches": "shared", "n_epochs": 1},
    "own minibatches, passes": {"n_epochs": 1, "layer_norm": True, "num_agent_train_steps_per_iter": 1000},
}


@pytest.mark.parametrize("case", CASES)
def test_a_stopped_run_with_two_workers_ends_as_a_whole_one_with_one(case, tmp_path, monkeypatch):
    config = replace(TINY_DAGGER, n_iter=2, ensemble=3, eval_interval="8", val_fraction=0.2, **CASES[case])
    run_in(tmp_path / "whole", config)
    stop_after(monkeypatch, tmp_path / "run", replace(config, num_workers=2), 2)
    resume(tmp_path / "run", num_workers=2, verbose=False)
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    assert float(rows_of(tmp_path / "whole")[-1]["Validation Accuracy"]) > 0


def test_a_run_with_standardised_actions_is_evaluated_from_its_file(tmp_path, monkeypatch, capsys):
    config = replace(TINY, env_name="LunarLanderContinuous-v3", ensemble=3, normalize_acs=True)
    result = run_in(tmp_path / "run", config)
    policy = load_policy(tmp_path / "run" / "policy_itr_0.pt")
    assert type(policy) is EnsemblePolicySL and policy.ensemble == 3
    obs = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    np.testing.assert_allclose(policy.actor().disagreement(obs), policy.disagreement(obs), rtol=1e-4, atol=1e-6)
    assert (policy.disagreement(obs) > 0).all()
    command = f"evaluate --policy {tmp_path / 'run'} --episodes 2 --ep_len 60 --seed 1"
    status, out, err = call_script(command, monkeypatch, capsys)
    assert status == 0, err
    assert "mean_episode_length" in out
    assert result.summary["status"] == "finished"


def test_an_ablation_compares_one_network_with_several(tmp_path, monkeypatch, capsys):
    command = "run_ablation --param ensemble --values 1 3 --seeds 1 --n_demos 1 --num_agent_train_steps_per_iter 20"
    command += f" --ep_len 20 --eval_episodes 1 --compile off --processes 1 --outdir {tmp_path / 'study'}"
    status, _, err = call_script(command, monkeypatch, capsys)
    assert status == 0, err
    assert [row["ensemble"] for row in rows_of(tmp_path / "study", "results.csv")] == ["1", "3"]


def test_a_wrong_combination_is_refused_in_one_sentence(tmp_path, monkeypatch, capsys):
    start = f"run_hw1 --logdir {tmp_path / 'run'} --ensemble 3"
    for flags, words in (
        ("--policy_class MLPPolicySL", ("--ensemble", "--policy_class")),
        ("--env_name LunarLanderContinuous-v3 --head flow", ("--ensemble 3", "flow")),
    ):
        assert_refused(call_script(f"{start} {flags}", monkeypatch, capsys), *words)
    assert not (tmp_path / "run").exists()
