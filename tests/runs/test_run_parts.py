from dataclasses import replace

import numpy as np
import pytest
from small_runs import TINY

from rl_il.config import RunConfig
from rl_il.envs import make_env
from rl_il.runs.parts import count_eval_episodes, load_demonstrations


def test_each_seed_draws_its_own_demonstrations():
    env = make_env(TINY.env_name)

    def first_observations(seed: int) -> np.ndarray:
        demonstrations = load_demonstrations(replace(TINY, seed=seed), env)
        assert len(demonstrations) == 2
        return np.stack([trajectory.obs[0] for trajectory in demonstrations])

    np.testing.assert_array_equal(first_observations(1), first_observations(1))
    drawn = {first_observations(seed).tobytes() for seed in range(5)}
    assert len(drawn) == 5


@pytest.mark.parametrize(
    ("changes", "episodes"),
    [
        ({"eval_batch_size": 1000, "env_name": "HalfCheetah-v5"}, 1),
        ({"eval_batch_size": 1001, "env_name": "HalfCheetah-v5"}, 2),
        ({"eval_batch_size": 5000}, 28),  # the expert lands after 184 steps
        ({"eval_batch_size": 5000, "ep_len": 100}, 50),
        ({"eval_batch_size": 1200, "env_name": "MountainCar-v0"}, 10),  # it needs 120 of at most 200
        ({"eval_batch_size": 1200, "env_name": "MountainCar-v0", "ep_len": 400}, 10),
        ({"eval_batch_size": 1000, "env_name": "Acrobot-v1"}, 2),  # not in the table: the time limit counts
        ({"eval_batch_size": 1000, "eval_episodes": 7}, 7),
    ],
)
def test_a_number_of_steps_becomes_a_number_of_episodes(changes, episodes):
    config = RunConfig(**changes)
    assert count_eval_episodes(config, make_env(config.env_name)) == episodes
