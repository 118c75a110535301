import gymnasium as gym
import numpy as np
import pytest
from fakes import ConstantActor, Corridor, FailingActor, corridor_length, first_seeds

from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.infrastructure.rollouts import (
    returns_and_lengths,
    sample_n_trajectories,
    sample_trajectories,
    sample_trajectory,
)
from rl_il.types import EXPERT, HUMAN, LEARNER

# One episode ---------------------------------------------------------------------------------------------


def test_an_episode_by_hand():
    trajectory = sample_trajectory(make_env("Corridor-v0"), ConstantActor(2), seed=1)  # 4 steps
    np.testing.assert_array_equal(trajectory.obs, [[0, 4], [1, 4], [2, 4], [3, 4], [4, 4]])
    np.testing.assert_array_equal(trajectory.acs, [2, 2, 2, 2])
    np.testing.assert_array_equal(trajectory.rewards, [2, 2, 2, 2])
    np.testing.assert_array_equal(trajectory.source, [LEARNER] * 4)
    assert (trajectory.obs.dtype, trajectory.acs.dtype) == (np.float32, np.int64)
    assert (trajectory.rewards.dtype, trajectory.source.dtype) == (np.float64, np.int8)
    assert trajectory.expert_acs is None
    assert trajectory.labelled is None
    assert trajectory.episode_return == 8


def test_pixels_keep_their_dtype_and_shape():
    trajectory = sample_trajectory(make_env("PixelCorridor-v0"), ConstantActor(0, (2, 2)), seed=0)
    assert trajectory.obs.dtype == np.uint8
    assert trajectory.obs.shape == (4, 2, 2)
    np.testing.assert_array_equal(trajectory.obs[:, 1, 1], [0, 10, 20, 30])


@pytest.mark.parametrize(
    ("env_name", "max_path_length", "steps", "terminated", "truncated"),
    [
        ("Corridor-v0", None, 6, True, False),
        ("Corridor-v0", 100, 6, True, False),
        ("Corridor-v0", 6, 6, True, False),  # the end was reached with the last step allowed
        ("Corridor-v0", 2, 2, False, True),
        ("TimedCorridor-v0", None, 5, False, True),
        ("TimedCorridor-v0", 3, 3, False, True),
        ("TimedCorridor-v0", 9, 5, False, True),
        ("EndlessCorridor-v0", 7, 7, False, True),
    ],
)
def test_how_an_episode_ends(env_name, max_path_length, steps, terminated, truncated):
    trajectory = sample_trajectory(make_env(env_name), ConstantActor(1), 3, max_path_length)  # seed 3: 6 steps
    assert len(trajectory) == steps
    assert len(trajectory.obs) == steps + 1
    assert trajectory.terminated is terminated
    assert trajectory.truncated is truncated


@pytest.mark.parametrize(("source", "expert_acs"), [(LEARNER, None), (EXPERT, [3, -9]), (HUMAN, None)])
def test_a_continuous_action_is_clipped_for_execution_only(source, expert_acs):
    env = make_env("CorridorContinuous-v0")
    trajectory = sample_trajectory(env, ConstantActor(np.array([3, -9], np.float32)), 0, source=source)  # 3 steps
    np.testing.assert_array_equal(env.unwrapped.executed, [[1, -2]] * 3)
    np.testing.assert_array_equal(trajectory.acs, [[1, -2]] * 3)
    np.testing.assert_array_equal(trajectory.source, [source] * 3)
    assert trajectory.acs.dtype == np.float32
    assert trajectory.episode_return == 3
    if expert_acs is None:
        assert trajectory.expert_acs is None
    else:
        np.testing.assert_array_equal(trajectory.expert_acs, [expert_acs] * 3)
        assert trajectory.expert_acs.dtype == np.float32


def test_an_action_within_the_bounds_is_executed_as_it_is():
    env = make_env("CorridorContinuous-v0")
    sample_trajectory(env, ConstantActor(np.array([-0.25, 1.5], np.float32)), 0)
    np.testing.assert_array_equal(env.unwrapped.executed, [[-0.25, 1.5]] * 3)


def test_environment_and_actor_start_from_the_seed():
    env, actor = make_env("Corridor-v0"), ConstantActor(0)
    sample_trajectory(env, actor, seed=17)
    assert env.unwrapped.seeds == actor.seeds == [17]


def test_on_step_is_called_before_each_step():
    env, seen = make_env("Corridor-v0"), []
    sample_trajectory(env, ConstantActor(0), 0, on_step=lambda env: seen.append(env.unwrapped.steps))
    assert seen == [0, 1, 2]


# Many episodes -------------------------------------------------------------------------------------------


def test_sample_n_trajectories_gives_exactly_n_each_from_its_own_seed():
    env, actor = make_env("Corridor-v0"), ConstantActor(1)
    trajectories = list(sample_n_trajectories(env, actor, 20, np.random.default_rng(0)))
    seeds = first_seeds(0, 20)
    assert env.unwrapped.seeds == actor.seeds == seeds
    assert len(set(seeds)) == 20
    assert [len(trajectory) for trajectory in trajectories] == [corridor_length(seed) for seed in seeds]


def test_sample_n_trajectories_gives_each_as_soon_as_it_is_finished():
    env = make_env("Corridor-v0")
    trajectories = sample_n_trajectories(env, ConstantActor(1), 20, np.random.default_rng(0))
    next(trajectories)
    assert len(env.unwrapped.seeds) == 1


@pytest.mark.parametrize("min_timesteps", [1, 3, 10, 11, 57])
def test_sample_trajectories_stops_at_the_first_episode_that_has_enough(min_timesteps):
    trajectories = sample_trajectories(
        make_env("Corridor-v0"), ConstantActor(1), min_timesteps, np.random.default_rng(4)
    )
    lengths = [len(trajectory) for trajectory in trajectories]
    assert lengths == [corridor_length(seed) for seed in first_seeds(4, len(lengths))]  # whole episodes
    assert sum(lengths) >= min_timesteps > sum(lengths[:-1])


def test_many_episodes_pass_limit_and_source_on():
    settings = {"max_path_length": 2, "source": EXPERT}
    env, actor = make_env("Corridor-v0"), ConstantActor(1)
    for trajectories in (
        list(sample_n_trajectories(env, actor, 2, np.random.default_rng(0), **settings)),
        sample_trajectories(env, actor, 4, np.random.default_rng(0), **settings),
    ):
        assert [len(trajectory) for trajectory in trajectories] == [2, 2]
        assert all((trajectory.source == EXPERT).all() for trajectory in trajectories)


def test_one_generator_gives_new_episodes_each_time():
    env, rng = make_env("Corridor-v0"), np.random.default_rng(0)
    for _ in range(2):
        list(sample_n_trajectories(env, ConstantActor(1), 5, rng))
    assert len(set(env.unwrapped.seeds)) == 10


@pytest.mark.parametrize("env", [lambda: gym.make("EndlessCorridor-v0"), lambda: Corridor(endless=True)])
def test_an_endless_environment_needs_a_limit(env):
    with pytest.raises(InputError, match="--ep_len"):
        sample_trajectories(env(), FailingActor(1000), 10, np.random.default_rng(0))
    with pytest.raises(InputError, match="--ep_len"):
        list(sample_n_trajectories(env(), FailingActor(1000), 1, np.random.default_rng(0)))


def test_returns_and_lengths_by_hand():
    env = make_env("Corridor-v0")
    trajectories = [sample_trajectory(env, ConstantActor(2), seed) for seed in (0, 1, 2)]
    returns, lengths = returns_and_lengths(trajectories)
    np.testing.assert_array_equal(returns, [6, 8, 10])
    np.testing.assert_array_equal(lengths, [3, 4, 5])
    assert returns.dtype == np.float64


def test_an_environment_that_fails_is_named_with_its_place_and_seed(monkeypatch):
    def step(self, action):
        raise KeyError("left wheel")

    monkeypatch.setattr(Corridor, "step", step)
    told = (
        r"Corridor-v0 failed in step 1 of the episode from seed 7: KeyError: 'left wheel' \(.*test_rollouts.py, line"
    )
    with pytest.raises(InputError, match=told):
        sample_trajectory(make_env("Corridor-v0"), ConstantActor(1), seed=7)
