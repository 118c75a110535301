import itertools
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from fakes import ConstantActor, Corridor, FailingActor, corridor_length

from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.infrastructure import rollouts
from rl_il.infrastructure.rollouts import (
    RolloutWorkers,
    begin_episodes,
    returns_and_lengths,
    sample_n_trajectories,
    sample_trajectories,
    sample_trajectory,
)
from rl_il.infrastructure.seeding import episode_seeds
from rl_il.policies.actors import NumpyActor, RandomActor
from rl_il.types import EXPERT, HUMAN, LEARNER


def first_seeds(seed: int, n: int) -> list[int]:
    return list(itertools.islice(episode_seeds(np.random.default_rng(seed)), n))


def lander_actor() -> NumpyActor:
    rng = np.random.default_rng(0)
    layers = [(rng.normal(size=(8, 16)), rng.normal(size=16)), (rng.normal(size=(16, 4)), rng.normal(size=4))]
    return NumpyActor(layers, "tanh", "argmax", (8,))


def assert_same_trajectories(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        for name in ("obs", "acs", "rewards", "source"):
            array, other_array = getattr(one, name), getattr(other, name)
            np.testing.assert_array_equal(array, other_array)
            assert array.dtype == other_array.dtype
        assert (one.terminated, one.truncated) == (other.terminated, other.truncated)
        assert (one.expert_acs is None) == (other.expert_acs is None)
        if one.expert_acs is not None:
            np.testing.assert_array_equal(one.expert_acs, other.expert_acs)


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


# Worker processes ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lander_workers():
    workers = RolloutWorkers("LunarLander-v3", 2)
    yield workers
    workers.close()


@pytest.mark.parametrize("make_actor", [lambda env: lander_actor(), RandomActor], ids=["network", "random"])
def test_workers_give_the_same_episodes_as_one_process(lander_workers, make_actor):
    env = make_env("LunarLander-v3")
    actor = make_actor(env)
    for max_path_length in (60, None):
        alone, shared = (
            list(sample_n_trajectories(place, actor, 5, np.random.default_rng(1), max_path_length))
            for place in (env, lander_workers)
        )
        assert_same_trajectories(alone, shared)
    alone, shared = (
        sample_trajectories(place, actor, 150, np.random.default_rng(2), 60, EXPERT)
        for place in (env, lander_workers)
    )
    assert_same_trajectories(alone, shared)
    assert len(alone) > 1


def test_workers_can_be_used_again_after_a_rollout_was_left_early(lander_workers):
    env, actor = make_env("LunarLander-v3"), lander_actor()
    left = sample_n_trajectories(lander_workers, actor, 100, np.random.default_rng(0), 30)
    next(left)
    left.close()
    alone, shared = (
        list(sample_n_trajectories(place, actor, 2, np.random.default_rng(3), 30)) for place in (env, lander_workers)
    )
    assert_same_trajectories(alone, shared)


def test_a_workers_error_reaches_the_parent_and_closing_leaves_no_process():
    before = set(multiprocessing.active_children())
    workers = RolloutWorkers("Corridor-v0", 2)
    trajectories = list(sample_n_trajectories(workers, ConstantActor(1), 4, np.random.default_rng(0)))
    assert [len(trajectory) for trajectory in trajectories] == [corridor_length(seed) for seed in first_seeds(0, 4)]
    assert set(multiprocessing.active_children()) - before
    with pytest.raises(RuntimeError, match="out of patience"):
        list(sample_n_trajectories(workers, FailingActor(1), 4, np.random.default_rng(0)))
    workers.close()
    assert set(multiprocessing.active_children()) <= before


def test_workers_begin_before_they_are_waited_for(monkeypatch):
    workers = RolloutWorkers("Corridor-v0", 2)
    try:
        begun = []
        submit = workers._pool.submit
        monkeypatch.setattr(workers._pool, "submit", lambda *args: begun.append(args[-3]) or submit(*args))
        episodes = begin_episodes(workers, ConstantActor(1), np.random.default_rng(0))
        assert begun == first_seeds(0, 3)  # one more than there are workers, so that none waits
        assert len(next(episodes)) == corridor_length(begun[0])
        next(episodes)
        assert begun == first_seeds(0, 5)
        episodes.close()
        few = begin_episodes(workers, ConstantActor(1), np.random.default_rng(1), n=7)
        assert begun[5:] == first_seeds(1, 7)  # all, so that whatever is begun later waits for them
        assert len(list(few)) == 7
    finally:
        workers.close()


class LethalActor(ConstantActor):
    """Kills the process that it acts in, unless `deaths` have died already."""

    def __init__(self, folder: Path, deaths: int):
        super().__init__(1)
        self.folder, self.deaths = folder, deaths

    def get_action(self, obs):
        if len(list(self.folder.iterdir())) < self.deaths:
            (self.folder / str(os.getpid())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().get_action(obs)


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_dead_worker_s_episodes_are_rolled_out_by_another(deaths, tmp_path, capsys):
    workers = RolloutWorkers("Corridor-v0", 2)
    try:
        alone = list(sample_n_trajectories(make_env("Corridor-v0"), ConstantActor(1), 9, np.random.default_rng(0)))
        episodes = sample_n_trajectories(workers, LethalActor(tmp_path, deaths), 9, np.random.default_rng(0))
        assert_same_trajectories(list(episodes), alone)
        assert 1 <= capsys.readouterr().err.count("note: a worker process died; its episodes are rolled") <= deaths
        again = list(sample_n_trajectories(workers, ConstantActor(1), 9, np.random.default_rng(0)))
        assert_same_trajectories(again, alone)
    finally:
        workers.close()


def test_one_death_ends_one_pool_whoever_waits_for_it(tmp_path, capsys):
    workers = RolloutWorkers("Corridor-v0", 1)
    try:
        first = begin_episodes(workers, LethalActor(tmp_path, 1), np.random.default_rng(0), n=2)
        second = begin_episodes(workers, ConstantActor(1), np.random.default_rng(1), n=2)
        lengths = [len(trajectory) for trajectory in [*first, *second]]
        assert lengths == [corridor_length(seed) for seed in first_seeds(0, 2) + first_seeds(1, 2)]
        assert capsys.readouterr().err.count("note: a worker process died") == 1
    finally:
        workers.close()


class AbortingActor(ConstantActor):
    """Ends its process as a segmentation fault would."""

    def get_action(self, obs):
        os.abort()


def test_a_crash_prints_its_traceback(capfd):
    workers = RolloutWorkers("Corridor-v0", 1)
    try:
        with pytest.raises(InputError, match="died 3 times"):
            list(sample_n_trajectories(workers, AbortingActor(1), 1, np.random.default_rng(0)))
    finally:
        workers.close()
    err = capfd.readouterr().err
    assert "Fatal Python error: Aborted" in err
    assert "in get_action" in err


def test_workers_that_always_die_are_given_up(tmp_path):
    workers = RolloutWorkers("Corridor-v0", 1)
    try:
        with pytest.raises(InputError, match="Corridor-v0 died 3 times at one episode"):
            list(sample_n_trajectories(workers, LethalActor(tmp_path, 99), 1, np.random.default_rng(0)))
        assert len(list(tmp_path.iterdir())) == 3
    finally:
        workers.close()


class HangingActor(ConstantActor):
    """Waits for ever, unless a process has done so already."""

    def __init__(self, folder: Path):
        super().__init__(1)
        self.folder = folder

    def get_action(self, obs):
        if not any(self.folder.iterdir()):
            (self.folder / str(os.getpid())).touch()
            signal.pause()
        return super().get_action(obs)


def test_a_worker_that_hangs_is_killed_and_its_episodes_are_rolled_out_by_another(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(rollouts, "MOST_SECONDS", 3)
    workers = RolloutWorkers("Corridor-v0", 2)
    try:
        alone = list(sample_n_trajectories(make_env("Corridor-v0"), ConstantActor(1), 5, np.random.default_rng(0)))
        episodes = list(sample_n_trajectories(workers, HangingActor(tmp_path), 5, np.random.default_rng(0)))
        assert_same_trajectories(episodes, alone)
        assert "note: no episode for 3 s; the worker processes are killed" in capsys.readouterr().err
    finally:
        workers.close()


def test_an_environment_that_fails_is_named_with_its_place_and_seed(monkeypatch):
    def step(self, action):
        raise KeyError("left wheel")

    monkeypatch.setattr(Corridor, "step", step)
    told = (
        r"Corridor-v0 failed in step 1 of the episode from seed 7: KeyError: 'left wheel' \(.*test_rollouts.py, line"
    )
    with pytest.raises(InputError, match=told):
        sample_trajectory(make_env("Corridor-v0"), ConstantActor(1), seed=7)


def test_workers_refuse_an_endless_environment_too():
    workers = RolloutWorkers("EndlessCorridor-v0", 2)
    try:
        with pytest.raises(InputError, match="--ep_len"):
            list(sample_n_trajectories(workers, FailingActor(1000), 1, np.random.default_rng(0)))
    finally:
        workers.close()


class Witness(ConstantActor):
    """Acts by what its process has imported."""

    def get_action(self, obs):
        return np.int64("torch" in sys.modules)


def test_a_worker_imports_no_torch():
    workers = RolloutWorkers("fakes:Corridor-v0", 1)
    try:
        rng = np.random.default_rng(0)
        network = NumpyActor([(rng.normal(size=(2, 3)), rng.normal(size=3))], "tanh", "argmax", (2,))
        assert len(list(sample_n_trajectories(workers, network, 1, rng))) == 1
        (trajectory,) = sample_n_trajectories(workers, Witness(0), 1, np.random.default_rng(0))
        assert set(trajectory.acs.tolist()) == {0}
    finally:
        workers.close()
