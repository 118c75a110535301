"""Data sets that Minari itself writes."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict

from rl_il.datasets import load_trajectories
from rl_il.datasets.content import ReadOptions

pytestmark = pytest.mark.formats


class Seen(gym.ObservationWrapper):
    """Observations as a dict with a picture."""

    def __init__(self, env):
        super().__init__(env)
        self.observation_space = Dict({"state": env.observation_space, "eye": Box(0, 255, (4, 5, 3), np.uint8)})

    def observation(self, observation):
        return {"state": observation, "eye": np.full((4, 5, 3), int(abs(observation[0]) * 1e4) % 256, np.uint8)}


def record(env, episodes):
    """Act at random; return the observations, actions, rewards and kinds of end."""
    written = []
    env.action_space.seed(0)
    for seed in range(episodes):
        obs, steps, over = [env.reset(seed=seed)[0]], [], False
        while not over:
            ac = env.action_space.sample()
            ob, reward, terminated, truncated, _ = env.step(ac)
            obs.append(ob)
            steps.append((ac, reward, terminated, truncated))
            over = terminated or truncated
        acs, rewards, *_ = zip(*steps, strict=True)
        written.append((obs, acs, rewards, (terminated, truncated)))
    return written


@pytest.mark.parametrize("data_format", ["hdf5", "arrow"])
@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize("wrap", [Seen, lambda env: env], ids=["dict", "plain"])
def test_what_minari_writes_reads_back(tmp_path, monkeypatch, name, wrap, data_format):
    import minari

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env = minari.DataCollector(wrap(gym.make(name, max_episode_steps=20)), data_format=data_format, record_infos=True)
    written = record(env, 12)
    env.create_dataset(dataset_id="test/set-v0")
    env.close()
    read = load_trajectories(
        tmp_path / "test" / "set-v0", options=ReadOptions(obs_keys="state" if wrap is Seen else None)
    )
    for trajectory, (obs, acs, rewards, end) in zip(read, written, strict=True):
        states = [ob["state"] if wrap is Seen else ob for ob in obs]
        np.testing.assert_array_equal(trajectory.obs, states)
        np.testing.assert_array_equal(trajectory.acs, acs)
        np.testing.assert_array_equal(trajectory.rewards, np.array(rewards, float))
        assert (trajectory.terminated, trajectory.truncated) == end
    if wrap is Seen:
        read = load_trajectories(tmp_path / "test" / "set-v0", options=ReadOptions(obs_keys="eye"))
        np.testing.assert_array_equal(read[3].obs, [ob["eye"] for ob in written[3][0]])
