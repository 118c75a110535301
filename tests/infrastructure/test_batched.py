import multiprocessing
import os
import signal

import numpy as np
import pytest
from fakes import (
    PICTURE,
    BatchCounter,
    ConstantActor,
    CorridorReader,
    FailingActor,
    StepCounter,
    first_seeds,
    walk,
)
from test_workers import AbortingActor, HangingActor, LethalActor, Witness, assert_same_trajectories, lander_actor

from rl_il.dagger import Accompanied
from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.infrastructure.batched import BatchedEpisodes, Queue
from rl_il.infrastructure.rollouts import begin_episodes, enough, sample_n_trajectories, sample_trajectories
from rl_il.policies.actors import RandomActor
from rl_il.policies.cnn_policy import CNNPolicySL
from rl_il.types import EXPERT, LEARNER


def batched(name: str, n: int) -> BatchedEpisodes:
    return BatchedEpisodes(name, make_env(name), n)


@pytest.fixture(scope="module")
def corridors():
    """The corridor in one, two and three slots."""
    made = {n: batched("fakes:Corridor-v0", n) for n in (1, 2, 3)}
    yield made
    for source in made.values():
        source.close()


def alone(actor, n: int, seed: int = 0, name: str = "fakes:Corridor-v0", **settings):
    return list(sample_n_trajectories(make_env(name), actor, n, np.random.default_rng(seed), **settings))


def together(place, actor, n: int, seed: int = 0, **settings):
    return list(sample_n_trajectories(place, actor, n, np.random.default_rng(seed), **settings))


# The same episodes ------------------------------------------------------------------------------------------

ACTORS = {
    "in batches": BatchCounter,
    "constant": lambda: ConstantActor(1),
    "random": lambda: RandomActor(make_env("fakes:Corridor-v0")),
    "reads the simulator": CorridorReader,
    "in batches, expert beside": lambda: Accompanied(BatchCounter(), CorridorReader(), beta=0.5),
    "alone, expert beside": lambda: Accompanied(ConstantActor(1), CorridorReader(), beta=0.5),
}


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("make_actor", ACTORS.values(), ids=ACTORS)
def test_any_number_of_workers_gives_the_episodes_of_one_environment(corridors, n, make_actor):
    for settings in ({}, {"max_path_length": 4, "source": EXPERT}):
        assert_same_trajectories(
            together(corridors[n], make_actor(), 10, **settings), alone(make_actor(), 10, **settings)
        )
    rng = np.random.default_rng(3)
    endless = sample_trajectories(corridors[n], make_actor(), 30, rng)
    assert_same_trajectories(endless, alone(make_actor(), len(endless), seed=3))
    assert sum(map(len, endless)) >= 30 > sum(map(len, endless[:-1]))


def test_the_counter_acts_in_this_process_and_an_expert_with_its_coin_in_the_others(corridors):
    BatchCounter.pids.clear()
    trajectories = together(corridors[2], Accompanied(BatchCounter(), CorridorReader(), beta=0.5), 10)
    assert {*BatchCounter.pids} == {os.getpid()}
    assert len(BatchCounter.pids) < sum(map(len, trajectories))  # batches
    sources = np.concatenate([trajectory.source for trajectory in trajectories])
    assert {*sources.tolist()} == {LEARNER, EXPERT}
    for trajectory in trajectories:
        np.testing.assert_array_equal(trajectory.expert_acs, np.arange(len(trajectory)) % 3)


@pytest.mark.parametrize("name", ["fakes:CorridorContinuous-v0", "fakes:TimedCorridor-v0", "LunarLander-v3"])
def test_other_environments(name):
    """Actions that are clipped, time limits, a task."""
    actors = {"fakes:CorridorContinuous-v0": ConstantActor(np.array([3, -1], np.float32))}
    actor = actors.get(name, lander_actor() if name == "LunarLander-v3" else BatchCounter())
    source = batched(name, 2)
    try:
        settings = {"source": EXPERT, "max_path_length": 60}
        assert_same_trajectories(together(source, actor, 5, **settings), alone(actor, 5, name=name, **settings))
    finally:
        source.close()


# One rollout after another ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 3])
def test_a_rollout_that_is_left_early_leaves_nothing_behind(corridors, n):
    together(corridors[n], BatchCounter(), 1)
    pids = {process.pid for process in multiprocessing.active_children()}
    endless = begin_episodes(corridors[n], BatchCounter(), np.random.default_rng(5))
    assert len(enough(endless, 0, n_episodes=2)) == 2
    left = sample_n_trajectories(corridors[n], ConstantActor(2), 9, np.random.default_rng(5))
    next(left)
    left.close()
    assert_same_trajectories(together(corridors[n], BatchCounter(), 4), alone(BatchCounter(), 4))
    assert {process.pid for process in multiprocessing.active_children()} == pids  # nothing was started again
    assert len(pids) >= n - 1


class LosingActor(ConstantActor):
    """Looks for a file that is not there."""

    def get_action(self, obs):
        raise FileNotFoundError("map.png")


@pytest.mark.parametrize("n", [1, 2])
def test_a_file_that_an_actor_misses_is_no_dead_process(n, capsys):
    source = batched("fakes:Corridor-v0", n)
    try:
        with pytest.raises(RuntimeError, match=r"FileNotFoundError: map\.png"):
            together(source, LosingActor(1), 3)
        assert "died" not in capsys.readouterr().err
    finally:
        source.close()


def test_a_rollout_begins_when_it_is_asked(corridors):
    """The trainer begins a collection before it has read the evaluation's last episodes."""
    evaluation = begin_episodes(corridors[2], BatchCounter(), np.random.default_rng(0), n=5)
    first = next(evaluation)
    collection = begin_episodes(corridors[2], BatchCounter(), np.random.default_rng(1))
    assert_same_trajectories([first, *evaluation], alone(BatchCounter(), 5))
    assert_same_trajectories(enough(collection, 0, n_episodes=3), alone(BatchCounter(), 3, seed=1))


def test_a_later_rollout_ends_an_earlier_one(corridors):
    earlier = begin_episodes(corridors[1], ConstantActor(1), np.random.default_rng(0))
    next(earlier)
    next(begin_episodes(corridors[1], ConstantActor(1), np.random.default_rng(1)))
    with pytest.raises(RuntimeError, match="ended where a later one began"):
        next(earlier)


def test_whole_episodes_wait_for_their_turn_and_not_too_many():
    """Slot 0's episode goes on; slot 1's end at once."""
    queue = Queue(iter(range(100, 200)), 2)
    assert queue.begin().tolist() == [True, True]
    assert queue.slots == [(0, 100), (1, 101)]
    for number in (1, 2, 3):
        assert queue.slots[1] == (number, 100 + number)
        queue.end(1, walk(number))
        assert list(queue.in_turn()) == []
        assert queue.begin().tolist() == [False, number < 3]  # four at most are begun and not read
    queue.end(0, walk(9))
    assert [len(trajectory) for trajectory in queue.in_turn()] == [9, 1, 2, 3]
    assert queue.begin().tolist() == [True, True]
    assert queue.slots == [(4, 104), (5, 105)]
    queue.end(1, walk(1))
    queue.begin()
    queue.lose()
    queue.begin()
    assert queue.slots == [(4, 104), (6, 106)]  # and not 5, which is whole
    few = Queue([7, 8, 9], 2)
    few.begin()
    for slot in (1, 1):
        few.end(slot, walk(1))
        few.begin()
    assert few.slots == [(0, 7), None]


# What fails -------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::UserWarning")  # Gymnasium shows the other process's traceback
@pytest.mark.parametrize("n", [1, 2])
def test_an_error_ends_the_processes_and_the_next_rollout_starts_new_ones(n):
    before = {*multiprocessing.active_children()}
    source = batched("fakes:Corridor-v0", n)
    with pytest.raises(RuntimeError, match="out of patience"):
        together(source, FailingActor(1), 4)
    assert {*multiprocessing.active_children()} <= before
    assert_same_trajectories(together(source, BatchCounter(), 3), alone(BatchCounter(), 3))
    assert len({*multiprocessing.active_children()} - before) == (0 if n == 1 else n)
    source.close()
    assert {*multiprocessing.active_children()} <= before


@pytest.mark.parametrize("n", [1, 2])
def test_an_environment_that_fails_is_named_with_step_and_seed(n):
    source = batched("fakes:FailingCorridor-v0", n)
    with pytest.raises(InputError, match="FailingCorridor-v0 failed in step 3 of the episode from seed") as failed:
        together(source, BatchCounter(), 2)
    assert "ZeroDivisionError: the floor gave way" in str(failed.value)
    assert any(str(seed) in str(failed.value) for seed in first_seeds(0, 2))
    source.close()


def test_an_endless_environment_is_refused():
    source = batched("fakes:EndlessCorridor-v0", 1)
    with pytest.raises(InputError, match="--ep_len"):
        together(source, BatchCounter(), 1)
    assert [len(trajectory) for trajectory in together(source, BatchCounter(), 2, max_path_length=7)] == [7, 7]


def test_a_process_that_is_killed_is_replaced(capsys):
    source = batched("fakes:Corridor-v0", 3)
    try:
        episodes = sample_n_trajectories(source, BatchCounter(), 20, np.random.default_rng(0))
        found = [next(episodes)]
        for victim in (1, 2, 0):  # at one episode it would be once too often
            os.kill(source._envs.processes[victim].pid, signal.SIGKILL)
            found += [next(episodes) for _ in range(5)]
        assert_same_trajectories([*found, *episodes], alone(BatchCounter(), 20))
        note = "note: a worker process died; its episodes are rolled out again\n"
        assert capsys.readouterr().err == 3 * note
    finally:
        source.close()


def test_a_process_that_dies_with_its_actor_is_replaced(tmp_path, capsys):
    source = batched("fakes:Corridor-v0", 2)
    try:
        assert_same_trajectories(together(source, LethalActor(tmp_path, 2), 6), alone(ConstantActor(1), 6))
        assert 1 <= capsys.readouterr().err.count("note: a worker process died") <= 2
    finally:
        source.close()


def test_processes_that_always_die_are_given_up(capfd):
    before = {*multiprocessing.active_children()}
    source = batched("fakes:Corridor-v0", 2)
    with pytest.raises(InputError, match=r"Corridor-v0 died 3 times at one episode.*fewer --num_workers"):
        together(source, AbortingActor(1), 2)
    assert {*multiprocessing.active_children()} <= before
    assert "Fatal Python error: Aborted" in capfd.readouterr().err


def test_processes_that_cannot_start_are_given_up(capfd):
    before = {*multiprocessing.active_children()}
    source = batched("Corridor-v0", 2)  # which nothing registers there
    with pytest.raises(InputError, match="died 3 times"):
        together(source, BatchCounter(), 2)
    assert {*multiprocessing.active_children()} <= before
    assert "unknown environment 'Corridor-v0'" in capfd.readouterr().err


def test_a_process_that_hangs_is_replaced(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("rl_il.infrastructure.slots.MOST_SECONDS", 2)
    source = batched("fakes:Corridor-v0", 2)
    try:
        assert_same_trajectories(together(source, HangingActor(tmp_path), 5), alone(ConstantActor(1), 5))
        assert "note: a worker process gave no answer for 2 s; its episodes are rolled" in capsys.readouterr().err
    finally:
        source.close()


# Policies on torch ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3])
def test_a_policy_that_sees_pictures_acts_in_batches_and_the_processes_import_no_torch(n):
    learner = CNNPolicySL(PICTURE, 2, False, frame_stack=3, size=8, rows=36, seed=2).actor()
    actor = Accompanied(learner, StepCounter(), beta=0.4)
    source = batched("fakes:PictureCorridor-v0", n)
    try:
        found = together(source, actor, 7)
        wanted = alone(actor, 7, name="fakes:PictureCorridor-v0")
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one.acs, other.acs, rtol=0, atol=1e-5)
            for name in ("obs", "expert_acs", "source"):
                np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        acs = np.concatenate([trajectory.acs for trajectory in wanted])
        assert acs[:, 0].std() > 1e-3  # other pictures, other actions
        (trajectory,) = together(source, Witness(0, PICTURE), 1)
        assert {*trajectory.acs.ravel().tolist()} == {0}
    finally:
        source.close()
