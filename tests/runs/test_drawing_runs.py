"""Runs with each head and with chunks: one seed gives one result, with any workers, and after a stop."""

from dataclasses import replace

import numpy as np
import pytest
from small_runs import TINY_DAGGER, assert_same_run, rows_of, run_in, stop_after

from rl_il.datasets import load_trajectories
from rl_il.envs import make_env
from rl_il.policies.policy_file import load_policy
from rl_il.runs.evaluate import record_demos
from rl_il.runs.experiment import resume

DAGGER = replace(TINY_DAGGER, n_iter=2, eval_interval="8", val_fraction=0.2)
CONTINUOUS = replace(DAGGER, env_name="LunarLanderContinuous-v3")
CHEETAH = replace(DAGGER, env_name="HalfCheetah-v5", chunk=4)


def assert_stopped_run_ends_as_a_whole_one(tmp_path, monkeypatch, config):
    """Assert that a run with one process and a stopped one with two workers write the same, weights included."""
    run_in(tmp_path / "whole", config)
    stop_after(monkeypatch, tmp_path / "run", replace(config, num_workers=2), 3)
    resume(tmp_path / "run", num_workers=2, verbose=False)
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    last = rows_of(tmp_path / "whole")[-1]
    assert float(last["Validation MAE"]) > 0
    return last


@pytest.mark.parametrize(
    "config",
    [
        replace(CONTINUOUS, head="mixture"),
        replace(CONTINUOUS, head="flow", chunk=4, execute=3, history=2),
        replace(CHEETAH, execute=2, history=2),
        replace(CHEETAH, head="mixture", normalize_acs=True),
        replace(CHEETAH, head="flow"),
    ],
    ids=lambda config: f"{config.env_name}-{config.head}",
)
def test_a_stopped_run_with_two_workers_ends_as_a_whole_one_with_one(config, tmp_path, monkeypatch):
    last = assert_stopped_run_ends_as_a_whole_one(tmp_path, monkeypatch, config)
    assert config.chunk > 1 or float(last["Eval_ExpertDistance"]) > 0


def test_chunks_of_pictures_give_one_result_too(tmp_path, monkeypatch):
    laps = tmp_path / "laps.npz"
    record_demos("CarRacing-v3", laps, n_demos=1, ep_len=20)
    small = {"ep_len": 8, "batch_size": 8, "train_batch_size": 4, "num_agent_train_steps_per_iter": 2}
    small |= {"eval_interval": "1", "eval_episodes": 1, "n_demos": None, "expert_data": str(laps)}
    config = replace(DAGGER, env_name="CarRacing-v3", head="flow", chunk=4, history=2, **small)
    assert_stopped_run_ends_as_a_whole_one(tmp_path, monkeypatch, config)
    policy = load_policy(tmp_path / "whole" / "policy_itr_1.pt")
    obs = load_trajectories(laps, make_env("CarRacing-v3"))[0].obs[:8]
    drives = [actions(policy, obs), actions(policy.actor(), obs), actions(policy, [obs[0]] * 5)]
    np.testing.assert_array_equal(drives[0], drives[1])
    np.testing.assert_array_equal(drives[0][:4], drives[2][:4])  # a plan: what is seen meanwhile does not matter
    assert not np.array_equal(drives[0][4], drives[2][4])


def actions(actor, obs):
    actor.reset(7)
    return np.array([actor.get_action(ob) for ob in obs])
