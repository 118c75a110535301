import gymnasium as gym
import numpy as np
import pytest
from fakes import ConstantActor, Corridor, CorridorReader, FailingActor, corridor_length, first_seeds, walk

from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.infrastructure.dagger import ExpertTeacher, Rule
from rl_il.infrastructure.rollouts import (
    enough,
    episode_steps,
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
    dtypes = [getattr(trajectory, name).dtype for name in ("obs", "acs", "rewards", "source")]
    assert dtypes == [np.float32, np.int64, np.float64, np.int8]
    assert trajectory.expert_acs is None and trajectory.labelled is None
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
        ("Corridor-v0", 6, 6, True, False),  # it ends with the last step allowed
        ("Corridor-v0", 2, 2, False, True),
        ("TimedCorridor-v0", None, 5, False, True),
        ("TimedCorridor-v0", 3, 3, False, True),
        ("EndlessCorridor-v0", 7, 7, False, True),
    ],
)
def test_how_an_episode_ends(env_name, max_path_length, steps, terminated, truncated):
    trajectory = sample_trajectory(make_env(env_name), ConstantActor(1), 3, max_path_length)  # seed 3: 6 steps
    assert (len(trajectory), len(trajectory.obs)) == (steps, steps + 1)
    assert (trajectory.terminated, trajectory.truncated) == (terminated, truncated)


@pytest.mark.parametrize("source", [LEARNER, EXPERT, HUMAN])
@pytest.mark.parametrize(("action", "executed"), [([3, -9], [1, -2]), ([-0.25, 1.5], [-0.25, 1.5])])
def test_a_continuous_action_is_clipped_for_execution_only(source, action, executed):
    env = make_env("CorridorContinuous-v0")
    trajectory = sample_trajectory(env, ConstantActor(np.array(action, np.float32)), 0, source=source)  # 3 steps
    np.testing.assert_array_equal(env.unwrapped.executed, [executed] * 3)
    np.testing.assert_array_equal(trajectory.acs, [executed] * 3)
    np.testing.assert_array_equal(trajectory.source, [source] * 3)
    assert trajectory.acs.dtype == trajectory.labels.dtype == np.float32
    np.testing.assert_array_equal(trajectory.labels, [action if source == EXPERT else executed] * 3)
    assert (trajectory.expert_acs is None) is (source != EXPERT)


def test_actor_and_teacher_see_the_environment_before_their_reset():
    order = []

    class Noting(CorridorReader):
        def watch(self, env):
            order.append("watch")
            super().watch(env)

        def reset(self, seed=0):
            order.append(seed)

    for rule, teacher in ((None, None), (Rule(), ExpertTeacher(Noting()))):
        trajectory = sample_trajectory(make_env("Corridor-v0"), Noting(), 1, rule=rule, teacher=teacher)
        np.testing.assert_array_equal(trajectory.acs, [0, 1, 2, 0])
    assert order == ["watch", 1] * 3


# Step by step --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("actor", [ConstantActor(2), CorridorReader()])
def test_an_episode_is_yielded_at_its_start_and_after_each_step(actor):
    env, lengths = make_env("Corridor-v0"), []
    for rollout in episode_steps(env, actor, seed=1):
        lengths.append(len(rollout))
        assert (rollout.seed, rollout.ob.tolist()) == (1, [len(rollout), 4])
        assert env.unwrapped.steps == len(rollout)  # no step is made in advance
        assert rollout.ended is (len(rollout) == 4)
        if lengths[-1]:
            assert rollout.own == rollout.acs[-1] == actor.get_action(rollout.obs[-2]) or actor.reads_simulator
            assert len(rollout.trajectory()) == lengths[-1]
    assert lengths == [0, 1, 2, 3, 4]
    whole = sample_trajectory(env, actor, seed=1)
    for name in ("obs", "acs", "rewards", "source"):
        np.testing.assert_array_equal(getattr(rollout.trajectory(), name), getattr(whole, name))


def test_an_unfinished_episode_has_not_ended():
    steps = episode_steps(make_env("Corridor-v0"), ConstantActor(2), seed=3)
    with pytest.raises(InputError, match="at least one step"):
        next(steps).trajectory()
    next(steps), next(steps)
    part = next(steps).trajectory()
    np.testing.assert_array_equal(part.obs, [[t, 6] for t in range(4)])
    assert (part.terminated, part.truncated) == (False, False)


def test_an_environment_may_reuse_one_array_for_observations():
    class Reusing(Corridor):
        ob = np.zeros(2, np.float32)

        def _observe(self):
            self.ob[:] = self.steps, self.length
            return self.ob

    trajectory = sample_trajectory(Reusing(), ConstantActor(1), seed=0, max_path_length=9)
    np.testing.assert_array_equal(trajectory.obs, [[t, 3] for t in range(4)])


# Many episodes -------------------------------------------------------------------------------------------


def test_exactly_n_episodes_each_from_its_own_seed():
    env, actor = make_env("Corridor-v0"), ConstantActor(1)
    sampled, seeds = sample_n_trajectories(env, actor, 20, np.random.default_rng(0)), first_seeds(0, 20)
    trajectories = [next(sampled)]
    assert env.unwrapped.seeds == seeds[:1]  # the others are not begun yet
    trajectories += sampled
    assert env.unwrapped.seeds == actor.seeds == seeds
    assert [len(trajectory) for trajectory in trajectories] == [corridor_length(seed) for seed in seeds]


@pytest.mark.parametrize("min_timesteps", [1, 3, 10, 11, 57])
def test_sample_trajectories_stops_as_soon_as_it_has_enough(min_timesteps):
    trajectories = sample_trajectories(
        make_env("Corridor-v0"), ConstantActor(1), min_timesteps, np.random.default_rng(4)
    )
    lengths = [len(trajectory) for trajectory in trajectories]
    assert lengths == [corridor_length(seed) for seed in first_seeds(4, len(lengths))]  # whole episodes
    assert sum(lengths) >= min_timesteps > sum(lengths[:-1])


def test_limit_and_source_are_passed_on_to_each_episode():
    settings = {"max_path_length": 2, "source": EXPERT}
    env, actor = make_env("Corridor-v0"), ConstantActor(1)
    for trajectories in (
        list(sample_n_trajectories(env, actor, 2, np.random.default_rng(0), **settings)),
        sample_trajectories(env, actor, 4, np.random.default_rng(0), **settings),
    ):
        assert [len(trajectory) for trajectory in trajectories] == [2, 2]
        assert all((trajectory.source == EXPERT).all() for trajectory in trajectories)


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


def test_enough_is_a_number_of_episodes_or_of_steps():
    def episodes():
        yield from map(walk, [3, 5, 4])

    assert [len(t) for t in enough(episodes(), 4)] == [3, 5]
    assert [len(t) for t in enough(episodes(), 100, n_episodes=3)] == [3, 5, 4]


def test_the_error_of_an_environment_names_its_place_and_the_seed(monkeypatch):
    def step(self, action):
        if self.steps == 2:
            raise KeyError("left wheel")
        return original(self, action)

    original = Corridor.step
    monkeypatch.setattr(Corridor, "step", step)
    with pytest.raises(InputError) as error:
        sample_trajectory(make_env("Corridor-v0"), ConstantActor(1), seed=7)
    for named in ("Corridor-v0", "step 3", "seed 7", "KeyError: 'left wheel'", "test_rollouts.py, line"):
        assert named in str(error.value)
