import multiprocessing
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from fakes import ConstantActor, FailingActor, corridor_length, first_seeds

from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.infrastructure.rollouts import (
    begin_episodes,
    sample_n_trajectories,
    sample_trajectories,
)
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
        for name in ("obs", "acs", "rewards", "source"):
            array, other_array = getattr(one, name), getattr(other, name)
            np.testing.assert_array_equal(array, other_array)
            assert array.dtype == other_array.dtype
        assert (one.terminated, one.truncated) == (other.terminated, other.truncated)
        assert (one.expert_acs is None) == (other.expert_acs is None)
        if one.expert_acs is not None:
            np.testing.assert_array_equal(one.expert_acs, other.expert_acs)


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
        monkeypatch.setattr(workers._pool, "submit", lambda *args: begun.extend(args[-3]) or submit(*args))
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


def test_many_episodes_are_asked_for_in_groups(monkeypatch):
    monkeypatch.setattr("rl_il.infrastructure.workers.GROUPS_PER_WORKER", 2)
    workers = RolloutWorkers("Corridor-v0", 2)
    try:
        asked = []
        submit = workers._pool.submit
        monkeypatch.setattr(workers._pool, "submit", lambda *args: asked.append(args[-3]) or submit(*args))
        episodes = sample_n_trajectories(workers, ConstantActor(1), 14, np.random.default_rng(0))
        seeds = first_seeds(0, 14)
        assert asked == [seeds[:3], seeds[3:6], seeds[6:9], seeds[9:12], seeds[12:]]  # 14 // (2 * 2) each
        assert [len(trajectory) for trajectory in episodes] == [corridor_length(seed) for seed in seeds]
        left = sample_n_trajectories(workers, ConstantActor(1), 14, np.random.default_rng(0))
        next(left)
        left.close()
        assert list(left) == []  # nor the rest of a group that is finished
    finally:
        workers.close()


class Unpickled(ConstantActor):
    """Notes in a folder each time that it is made from a pickle."""

    def __init__(self, folder: Path):
        super().__init__(1)
        self.folder = folder

    def __setstate__(self, state):
        self.__dict__.update(state)
        (self.folder / f"{os.getpid()}_{len(list(self.folder.iterdir()))}").touch()


def test_a_worker_makes_the_actor_once(tmp_path):
    workers = RolloutWorkers("Corridor-v0", 1)
    try:
        assert len(list(sample_n_trajectories(workers, Unpickled(tmp_path), 9, np.random.default_rng(0)))) == 9
        assert len(list(tmp_path.iterdir())) == 1
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


@pytest.mark.parametrize(("deaths", "groups"), [(1, 32), (2, 32), (1, 1)])
def test_a_dead_worker_s_episodes_are_rolled_out_by_another(deaths, groups, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("rl_il.infrastructure.workers.GROUPS_PER_WORKER", groups)
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
    monkeypatch.setattr("rl_il.infrastructure.workers.MOST_SECONDS", 3)
    workers = RolloutWorkers("Corridor-v0", 2)
    try:
        alone = list(sample_n_trajectories(make_env("Corridor-v0"), ConstantActor(1), 5, np.random.default_rng(0)))
        episodes = list(sample_n_trajectories(workers, HangingActor(tmp_path), 5, np.random.default_rng(0)))
        assert_same_trajectories(episodes, alone)
        assert "note: no answer for 3 s; the worker processes are killed" in capsys.readouterr().err
    finally:
        workers.close()


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
