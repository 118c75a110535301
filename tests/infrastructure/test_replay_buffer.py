import itertools
import warnings

import numpy as np
import pytest
import torch
from fakes import walk

from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.types import Trajectory


def numbered(first: int, steps: int, **fields) -> Trajectory:
    """Steps `first, first + 1, ...`: the observation of step i is [i, -i], its action i."""
    numbers = np.arange(first, first + steps + 1)
    obs = np.stack([numbers, -numbers], axis=1).astype(np.float32)
    return Trajectory(obs, numbers[:-1], np.zeros(steps), **fields)


def numbers_in(buffer: ReplayBuffer) -> list[int]:
    """Which steps the buffer holds, sorted; checks that each observation still has its own label."""
    np.testing.assert_array_equal(buffer.obs[:, 0], buffer.acs)
    np.testing.assert_array_equal(buffer.obs[:, 1], -buffer.acs)
    return sorted(buffer.acs.tolist())


def capacity(buffer: ReplayBuffer) -> int:
    return buffer.acs.untyped_storage().nbytes() // buffer.acs.element_size()


def chi_square(counts: np.ndarray) -> float:
    expected = counts.sum() / len(counts)
    return float(((counts - expected) ** 2 / expected).sum())


def test_a_new_buffer_is_empty():
    assert len(ReplayBuffer()) == 0


def test_contents_are_what_was_added():
    buffer = ReplayBuffer()
    buffer.add([walk(3, action=1), walk(2, action=2)])
    assert len(buffer) == 5
    np.testing.assert_array_equal(buffer.obs, [[0, 3], [1, 3], [2, 3], [0, 2], [1, 2]])  # no last observations
    np.testing.assert_array_equal(buffer.acs, [1, 1, 1, 2, 2])


def test_the_buffer_does_not_change_with_the_arrays_it_was_given():
    trajectory = numbered(0, 4)
    buffer = ReplayBuffer()
    buffer.add([trajectory])
    trajectory.obs[:] = 99
    assert numbers_in(buffer) == [0, 1, 2, 3]


def test_the_labels_are_the_experts_actions():
    buffer = ReplayBuffer()
    buffer.add([walk(3, action=0, expert_acs=np.array([2, 1, 2]))])
    np.testing.assert_array_equal(buffer.acs, [2, 1, 2])


def test_only_labelled_steps_are_added():
    buffer = ReplayBuffer()
    buffer.add([numbered(0, 4, labelled=np.array([True, False, False, True])), numbered(10, 2)])
    assert numbers_in(buffer) == [0, 3, 10, 11]


def test_a_trajectory_without_labels_adds_nothing():
    unlabelled = walk(3, labelled=np.zeros(3, bool))
    buffer = ReplayBuffer()
    buffer.add([unlabelled])
    assert len(buffer) == 0
    buffer.add([numbered(0, 2), unlabelled])
    assert numbers_in(buffer) == [0, 1]


@pytest.mark.parametrize(
    ("obs_dtype", "acs_dtype", "stored"),
    [
        (np.float64, np.float64, (torch.float32, torch.float32)),
        (np.float32, np.int64, (torch.float32, torch.int64)),
        (np.uint8, np.int64, (torch.uint8, torch.int64)),
    ],
)
def test_floats_are_stored_in_single_precision_and_the_rest_as_it_is(obs_dtype, acs_dtype, stored):
    buffer = ReplayBuffer()
    buffer.add([Trajectory(np.zeros((4, 2, 2), obs_dtype), np.zeros((3, 5), acs_dtype), np.zeros(3))])
    batch = buffer.sample(2, np.random.default_rng(0))
    assert (buffer.obs.dtype, buffer.acs.dtype) == (batch.obs.dtype, batch.acs.dtype) == stored
    assert batch.obs.shape == (2, 2, 2)
    assert batch.acs.shape == (2, 5)


def test_room_grows_by_doubling_up_to_the_limit():
    buffer = ReplayBuffer(max_size=10_000)
    capacities = []
    for i in range(1000):
        buffer.add([numbered(10 * i, 10)])
        capacities.append(capacity(buffer))
    steps = sorted(set(capacities))
    assert capacities == sorted(capacities)
    assert steps[-1] == 10_000
    assert steps == [1024, 2048, 4096, 10_000]  # the last leap spares the copy of more than half of it
    assert numbers_in(buffer) == list(range(10_000))


def test_room_is_never_above_the_limit():
    buffer = ReplayBuffer(max_size=5)
    buffer.add([numbered(0, 3)])
    assert capacity(buffer) <= 5


def test_a_large_first_add_gets_its_room_at_once():
    buffer = ReplayBuffer()
    buffer.add([numbered(0, 5000)])
    assert 5000 <= capacity(buffer) < 10_000


def test_adding_where_there_is_room_copies_nothing():
    buffer = ReplayBuffer()
    places = []
    for i in range(500):
        buffer.add([numbered(20 * i, 20)])
        places.append((buffer.obs.data_ptr(), buffer.acs.data_ptr(), capacity(buffer)))
    moves = sum(place != before for before, place in itertools.pairwise(places))
    assert moves <= 4  # 1,024 rows double four times to hold 10,000


def test_a_full_buffer_stays_in_its_place():
    buffer = ReplayBuffer(max_size=50)
    buffer.add([numbered(0, 50)])
    place = buffer.obs.data_ptr()
    with pytest.warns(UserWarning, match="oldest"):
        buffer.add([numbered(50, 30)])
    assert buffer.obs.data_ptr() == place
    assert numbers_in(buffer) == list(range(30, 80))


@pytest.mark.filterwarnings("ignore:the replay buffer holds")
@pytest.mark.parametrize("adds", [[7, 5], [12], [3, 25], [10, 10], [10, 1, 30], [9, 1, 1], [4, 4, 4, 4]])
def test_a_full_buffer_keeps_the_newest(adds):
    buffer, added = ReplayBuffer(max_size=10), 0
    for steps in adds:
        buffer.add([numbered(added, steps)])
        added += steps
        assert numbers_in(buffer) == list(range(added))[-10:]


@pytest.mark.filterwarnings("ignore:the replay buffer holds")
@pytest.mark.parametrize(("max_size", "longest"), [(1, 3), (7, 20), (100, 9), (1500, 40)])
def test_random_adds_leave_what_a_list_would_hold(max_size, longest):
    rng = np.random.default_rng(max_size)
    buffer, model, added = ReplayBuffer(max_size), [], 0
    for _ in range(200):
        trajectories = []
        for _ in range(rng.integers(1, 4)):
            steps = int(rng.integers(1, longest + 1))
            labelled = rng.random(steps) < 0.8
            labelled[0] = True
            trajectories.append(numbered(added, steps, labelled=labelled))
            model += (added + np.flatnonzero(labelled)).tolist()
            added += steps
        buffer.add(trajectories)
        assert len(buffer) == min(len(model), max_size)
        assert numbers_in(buffer) == model[-max_size:]


def test_dropping_is_said_once():
    buffer = ReplayBuffer(max_size=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        buffer.add([numbered(0, 4)])
    with pytest.warns(UserWarning, match=r"holds 4 steps.*oldest"):
        buffer.add([numbered(4, 1)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        buffer.add([numbered(5, 9)])


def test_dropping_is_said_where_one_add_is_larger_than_the_buffer():
    buffer = ReplayBuffer(max_size=4)
    with pytest.warns(UserWarning, match="oldest"):
        buffer.add([numbered(0, 6)])
    assert numbers_in(buffer) == [2, 3, 4, 5]


def test_sample_has_the_rows_asked_for():
    buffer = ReplayBuffer()
    buffer.add([numbered(0, 5)])
    batch = buffer.sample(12, np.random.default_rng(0))
    assert batch.obs.shape == (12, 2)
    assert batch.acs.shape == (12,)
    np.testing.assert_array_equal(batch.obs[:, 0], batch.acs)
    assert set(batch.acs.tolist()) <= set(range(5))


def test_draws_are_uniform():
    buffer = ReplayBuffer()
    buffer.add([numbered(0, 10)])
    draws = list(buffer.draws(100, np.random.default_rng(0), n_steps=200))
    assert len(draws) == 200
    assert all(rows.shape == (100,) for rows in draws)
    assert chi_square(np.bincount(torch.cat(draws), minlength=10)) < 30  # 9 freedoms


def test_draws_never_name_rows_that_were_not_added():
    buffer = ReplayBuffer()
    buffer.add([numbered(1000, 3)])  # the rest of the room is not initialised
    draws = buffer.draws(50, np.random.default_rng(0), n_steps=50)
    assert {number for rows in draws for number in buffer.batch(rows).acs.tolist()} == {1000, 1001, 1002}


@pytest.mark.parametrize("draw", ["draws", "passes"])
def test_draws_repeat_for_a_seed(draw):
    buffer = ReplayBuffer()
    buffer.add([numbered(0, 50)])

    def rows(seed):
        return torch.cat(list(getattr(buffer, draw)(8, np.random.default_rng(seed), 10))).tolist()

    assert rows(1) == rows(1)
    assert rows(1) != rows(2)


def test_passes_visit_each_row_once():
    buffer = ReplayBuffer()
    buffer.add([numbered(0, 10)])
    draws = list(buffer.passes(4, np.random.default_rng(0), n_epochs=3))
    assert [len(rows) for rows in draws] == [4, 4, 2] * 3
    passes = torch.cat(draws).reshape(3, 10).tolist()
    assert all(sorted(one) == list(range(10)) for one in passes)
    assert passes[0] != passes[1] != sorted(passes[1])


def test_a_batch_is_the_rows_asked_for():
    buffer = ReplayBuffer()
    buffer.add([numbered(5, 10)])
    batch = buffer.batch(torch.tensor([3, 0, 3]))
    assert batch.acs.tolist() == batch.obs[:, 0].tolist() == [8, 5, 8]
