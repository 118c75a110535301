import multiprocessing
import os
import sys
import threading
from contextlib import closing
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from fakes import ConstantActor, FailingActor, corridor_length, first_seeds

from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.infrastructure.rollouts import begin_episodes, sample_n_trajectories, sample_trajectories
from rl_il.infrastructure.workers import RolloutWorkers
from rl_il.policies.actors import NumpyActor, RandomActor
from rl_il.types import EXPERT


def lander_actor() -> NumpyActor:
    rng = np.random.default_rng(0)
    layers = [(rng.normal(size=(8, 16)), rng.normal(size=16)), (rng.normal(size=(16, 4)), rng.normal(size=4))]
    return NumpyActor(layers, "tanh", "argmax", (8,))


def assert_same_trajectories(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        for name in ("obs", "acs", "rewards", "source", "labels"):
            array, other_array = getattr(one, name), getattr(other, name)
            np.testing.assert_array_equal(array, other_array)
            assert array.dtype == other_array.dtype
        assert (one.terminated, one.truncated) == (other.terminated, other.truncated)


def episodes_of(place, actor, n: int, seed: int = 0, max_path_length: int | None = None):
    return list(sample_n_trajectories(place, actor, n, np.random.default_rng(seed), max_path_length))


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
        alone, shared = (episodes_of(place, actor, 5, 1, max_path_length) for place in (env, lander_workers))
        assert_same_trajectories(alone, shared)
    alone, shared = (
        sample_trajectories(place, actor, 150, np.random.default_rng(2), 60, EXPERT)
        for place in (env, lander_workers)
    )
    assert_same_trajectories(alone, shared)
    assert len(alone) > 1


def test_an_error_reaches_the_parent_and_no_process_is_left():
    before = set(multiprocessing.active_children())
    workers = RolloutWorkers("Corridor-v0", 2)
    trajectories = episodes_of(workers, ConstantActor(1), 4)
    assert [len(trajectory) for trajectory in trajectories] == [corridor_length(seed) for seed in first_seeds(0, 4)]
    assert set(multiprocessing.active_children()) - before
    with pytest.raises(InputError, match=r"RuntimeError: out of patience \(.*fakes.py"):
        episodes_of(workers, FailingActor(1), 4)
    workers.close()
    assert set(multiprocessing.active_children()) <= before


@pytest.fixture
def asked(monkeypatch):
    """Yield two workers, and the groups of seeds that are requested from them."""
    monkeypatch.setattr("rl_il.infrastructure.workers.GROUPS_PER_WORKER", 2)
    groups = []
    with closing(RolloutWorkers("Corridor-v0", 2)) as workers:
        submit = workers.submit
        monkeypatch.setattr(workers, "submit", lambda seeds, *args: groups.append(seeds) or submit(seeds, *args))
        yield workers, groups


def test_workers_begin_episodes_in_advance(asked):
    workers, groups = asked
    episodes = begin_episodes(workers, ConstantActor(1), np.random.default_rng(0))
    assert groups == [[seed] for seed in first_seeds(0, 3)]  # one more than workers, so that none has to wait
    assert len(next(episodes)) == corridor_length(groups[0][0])
    next(episodes)
    assert groups == [[seed] for seed in first_seeds(0, 5)]
    episodes.close()
    assert list(episodes) == []
    few = begin_episodes(workers, ConstantActor(1), np.random.default_rng(1), n=7)
    assert groups[5:] == [[seed] for seed in first_seeds(1, 7)]  # all at once
    assert len(list(few)) == 7


def test_many_episodes_are_requested_in_groups(asked):
    workers, groups = asked
    episodes = sample_n_trajectories(workers, ConstantActor(1), 14, np.random.default_rng(0))
    seeds = first_seeds(0, 14)
    assert groups == [seeds[:3], seeds[3:6], seeds[6:9], seeds[9:12], seeds[12:]]  # 14 // (2 * 2) each
    assert [len(trajectory) for trajectory in episodes] == [corridor_length(seed) for seed in seeds]
    left = sample_n_trajectories(workers, ConstantActor(1), 14, np.random.default_rng(0))
    next(left)
    left.close()
    assert list(left) == []  # not even the rest of a finished group
    again = sample_n_trajectories(workers, ConstantActor(1), 4, np.random.default_rng(0))
    assert [len(trajectory) for trajectory in again] == [corridor_length(seed) for seed in seeds[:4]]


class LethalActor(ConstantActor):
    """An actor that ends its process as a segmentation fault does, until `deaths` processes have ended."""

    def __init__(self, folder: Path, deaths: int):
        super().__init__(1)
        self.folder, self.deaths = folder, deaths

    def get_action(self, obs):
        if len(list(self.folder.iterdir())) < self.deaths:
            (self.folder / str(os.getpid())).touch()
            os.abort()
        return super().get_action(obs)


@pytest.mark.parametrize(("deaths", "groups"), [(1, 32), (2, 32), (1, 1)])
def test_a_dead_workers_episodes_are_rolled_out_by_another(deaths, groups, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("rl_il.infrastructure.workers.GROUPS_PER_WORKER", groups)
    with closing(RolloutWorkers("Corridor-v0", 2)) as workers:
        alone = episodes_of(make_env("Corridor-v0"), ConstantActor(1), 9)
        episodes = episodes_of(workers, LethalActor(tmp_path, deaths), 9)
        assert_same_trajectories(episodes, alone)
        assert 1 <= capsys.readouterr().err.count("worker process died") <= deaths
        again = episodes_of(workers, ConstantActor(1), 9)
        assert_same_trajectories(again, alone)


class HangingActor(LethalActor):
    """An actor that hangs in the first process that uses it."""

    def get_action(self, obs):
        if not any(self.folder.iterdir()):
            (self.folder / str(os.getpid())).touch()
            threading.Event().wait()
        return ConstantActor.get_action(self, obs)


def test_a_hanging_workers_episodes_are_rolled_out_by_another(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("rl_il.infrastructure.workers.MAX_SECONDS", 3)
    with closing(RolloutWorkers("Corridor-v0", 2)) as workers:
        alone = episodes_of(make_env("Corridor-v0"), ConstantActor(1), 5)
        episodes = episodes_of(workers, HangingActor(tmp_path, 1), 5)
        assert_same_trajectories(episodes, alone)
        assert " 3 s" in capsys.readouterr().err


def test_after_one_death_the_pool_is_replaced_once(tmp_path, capsys):
    with closing(RolloutWorkers("Corridor-v0", 1)) as workers:
        first = begin_episodes(workers, LethalActor(tmp_path, 1), np.random.default_rng(0), n=2)
        second = begin_episodes(workers, ConstantActor(1), np.random.default_rng(1), n=2)
        lengths = [len(trajectory) for trajectory in [*first, *second]]
        assert lengths == [corridor_length(seed) for seed in first_seeds(0, 2) + first_seeds(1, 2)]
        assert capsys.readouterr().err.count("worker process died") == 1


def test_workers_that_always_die_are_an_error_with_a_traceback(tmp_path, capfd):
    with closing(RolloutWorkers("Corridor-v0", 1)) as workers, pytest.raises(InputError, match=r"Corridor-v0.* 3 "):
        episodes_of(workers, LethalActor(tmp_path, 99), 1)
    assert len(list(tmp_path.iterdir())) == 3
    err = capfd.readouterr().err
    assert "Fatal Python error: Aborted" in err
    assert "in get_action" in err


def test_workers_refuse_an_endless_environment_too():
    with closing(RolloutWorkers("EndlessCorridor-v0", 2)) as workers, pytest.raises(InputError, match="--ep_len"):
        episodes_of(workers, FailingActor(1000), 1)


class Witness(ConstantActor):
    """An actor whose action is 1 if its process has imported torch, or has unpickled it more than once."""

    made = 0

    def __setstate__(self, state):
        self.__dict__.update(state)
        Witness.made += 1

    def get_action(self, obs):
        return np.int64("torch" in sys.modules or Witness.made > 1)


def test_a_worker_imports_no_torch_and_unpickles_the_actor_once():
    with closing(RolloutWorkers("fakes:Corridor-v0", 1)) as workers:
        rng = np.random.default_rng(0)
        network = NumpyActor([(rng.normal(size=(2, 3)), rng.normal(size=3))], "tanh", "argmax", (2,))
        assert len(list(sample_n_trajectories(workers, network, 1, rng))) == 1
        trajectories = episodes_of(workers, Witness(0), 9)
        assert {action for trajectory in trajectories for action in trajectory.acs.tolist()} == {0}


def test_a_class_of_the_program_itself_is_refused_by_its_name_too():
    spec = gym.envs.registration.EnvSpec("Mine-v0", entry_point="__main__:Mine", max_episode_steps=3)
    with pytest.raises(InputError, match="__main__:Mine"):
        RolloutWorkers(spec, 2)
