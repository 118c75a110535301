"""Measurements of the agent acting alone, and of the expert."""

import gymnasium as gym
import numpy as np
import pytest
from fakes import ConstantActor

from rl_il.envs import make_env
from rl_il.teacher import teaching as teaching_module
from rl_il.teacher.metrics import Metrics, measure
from rl_il.teacher.run import teach
from rl_il.teacher.scripted import caption
from rl_il.teacher.settings import TeachConfig


class SeedRecorder(gym.Wrapper):
    """Remembers the seed of every episode."""

    def __init__(self, env):
        super().__init__(env)
        self.seeds = []

    def reset(self, *, seed=None, options=None):
        self.seeds.append(seed)
        return super().reset(seed=seed, options=options)


def test_two_measurements_use_the_same_episodes():
    env = SeedRecorder(make_env("TimedCorridor-v0"))
    for seed in (1, 1, 2):
        config = TeachConfig(env_name="TimedCorridor-v0", eval_episodes=3, seed=seed)
        assert measure(ConstantActor(np.int64(2)), env, config).tolist() == [10, 10, 10]
    first, second, other = (env.seeds[i : i + 3] for i in (0, 3, 6))
    assert first == second and not {*first} & {*other}


@pytest.mark.parametrize("eval_every", [2, -1])
def test_a_scripted_session_measures_its_expert_on_the_same_episodes(tmp_path, monkeypatch, capsys, eval_every):
    envs = []

    def recorded(name):
        envs.append(SeedRecorder(make_env(name)))
        return envs[-1]

    monkeypatch.setattr(teaching_module, "make_env", recorded)
    settings = {"eval_every": eval_every, "eval_episodes": 2, "ep_len": 20, "updates_per_step": 0}
    teach(TeachConfig(teacher="scripted", episodes=4, logdir=str(tmp_path / "run"), **settings))
    measured = [env.seeds for env in envs]
    if eval_every == -1:
        assert measured == [] and "the expert" not in capsys.readouterr().out
    else:
        assert measured == [measured[0][:2] * 3]  # two snapshots, then the expert
        assert "the expert" in capsys.readouterr().out


@pytest.mark.parametrize("n, has_interval", [(4, False), (5, True)])
def test_an_interval_needs_five_episodes(tmp_path, n, has_interval):
    metrics = Metrics(tmp_path)
    message = metrics.add_snapshot_return(100, np.arange(n, dtype=np.float64))
    assert (message["return"], message["episodes"], message["updates"]) == ((n - 1) / 2, n, 100)
    if has_interval:
        low, high = message["interval"]
        assert low < message["return"] < high
    else:
        assert message["interval"] is None
    assert ("95 %" in caption(n, with_expert=True)) == has_interval
