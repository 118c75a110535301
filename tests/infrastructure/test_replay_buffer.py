import itertools
import warnings

import numpy as np
import pytest
import torch
from fakes import walk

from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.types import Trajectory


def numbered(first: int, steps: int, **fields) -> Trajectory:
    """Return steps `first, first + 1, ...`. The observation of step i is [i, -i], and its action is i."""
    numbers = np.arange(first, first + steps + 1)
    obs = np.stack([numbers, -numbers], axis=1).astype(np.float32)
    return Trajectory(obs, numbers[:-1], np.zeros(steps), **fields)


def numbers_in(buffer: ReplayBuffer) -> list[int]:
    """Return the stored steps, sorted. Check that each observation still has its own label."""
    np.testing.assert_array_equal(buffer.obs[:, 0], buffer.acs)
    np.testing.assert_array_equal(buffer.obs[:, 1], -buffer.acs)
    return sorted(buffer.acs.tolist())


def capacity(buffer: ReplayBuffer) -> int:
    return buffer.acs.untyped_storage().nbytes() // buffer.acs.element_size()


def chi_square(counts: np.ndarray) -> float:
    expected = counts.sum() / len(counts)
    return float(((counts - expected) ** 2 / expected).sum())


def test_contents_are_what_was_added():
    buffer, trajectory = ReplayBuffer(), walk(3, action=1, expert_acs=np.array([2, 1, 2]))
    assert len(buffer) == 0
    buffer.add([trajectory, walk(2, action=2)])
    trajectory.obs[:] = 99  # the buffer has a copy
    assert len(buffer) == 5
    np.testing.assert_array_equal(buffer.obs, [[0, 3], [1, 3], [2, 3], [0, 2], [1, 2]])  # without last ones
    np.testing.assert_array_equal(buffer.acs, [2, 1, 2, 2, 2])
    assert buffer.batch(torch.tensor([3, 0, 3])).obs.tolist() == [[0, 2], [0, 3], [0, 2]]
    batch = buffer.sample(12, np.random.default_rng(0))
    assert (batch.obs.shape, batch.acs.shape) == ((12, 2), (12,))


def test_only_labelled_steps_are_added():
    buffer, unlabelled = ReplayBuffer(), walk(3, labelled=np.zeros(3, bool))
    buffer.add([unlabelled])
    assert len(buffer) == 0
    buffer.add([numbered(0, 4, labelled=np.array([True, False, False, True])), unlabelled, numbered(10, 2)])
    assert numbers_in(buffer) == [0, 3, 10, 11]


@pytest.mark.parametrize(
    ("obs_dtype", "acs_dtype", "stored"),
    [
        (np.float64, np.float64, (torch.float32, torch.float32)),
        (np.float32, np.int64, (torch.float32, torch.int64)),
        (np.uint8, np.int64, (torch.uint8, torch.int64)),
    ],
)
def test_only_floats_change_their_dtype(obs_dtype, acs_dtype, stored):
    buffer = ReplayBuffer()
    buffer.add([Trajectory(np.zeros((4, 2, 2), obs_dtype), np.zeros((3, 5), acs_dtype), np.zeros(3))])
    batch = buffer.sample(2, np.random.default_rng(0))
    assert (buffer.obs.dtype, buffer.acs.dtype) == (batch.obs.dtype, batch.acs.dtype) == stored
    assert (batch.obs.shape, batch.acs.shape) == ((2, 2, 2), (2, 5))


def test_the_storage_doubles_up_to_the_limit_and_is_not_copied_otherwise():
    buffer, places = ReplayBuffer(max_size=10_000), []
    for i in range(1000):
        buffer.add([numbered(10 * i, 10)])
        places.append((capacity(buffer), buffer.obs.data_ptr(), buffer.acs.data_ptr()))
    moves = [place for before, place in itertools.pairwise(places) if place != before]
    assert [places[0][0], *(room for room, *_ in moves)] == [1024, 2048, 4096, 10_000]  # the last one avoids a copy
    assert numbers_in(buffer) == list(range(10_000))


@pytest.mark.parametrize(("max_size", "steps", "most"), [(5, 3, 5), (1_000_000, 5000, 9999)])
def test_the_first_add_allocates_its_storage_at_once(max_size, steps, most):
    buffer = ReplayBuffer(max_size)
    buffer.add([numbered(0, steps)])
    assert steps <= capacity(buffer) <= most


def test_a_full_buffer_is_not_moved():
    buffer = ReplayBuffer(max_size=50)
    buffer.add([numbered(0, 50)])
    place = buffer.obs.data_ptr()
    with pytest.warns(UserWarning, match="oldest"):
        buffer.add([numbered(50, 30)])
    assert buffer.obs.data_ptr() == place
    assert numbers_in(buffer) == list(range(30, 80))


@pytest.mark.filterwarnings("ignore:the replay buffer holds")
@pytest.mark.parametrize(("max_size", "longest"), [(1, 3), (7, 20), (100, 9), (1500, 40)])
def test_random_adds_leave_the_same_steps_as_a_list(max_size, longest):
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


@pytest.mark.filterwarnings("ignore:the replay buffer holds")
@pytest.mark.parametrize("frame_stack", [1, 3])
def test_each_row_is_at_its_number_modulo_the_size(frame_stack):
    buffer, added = ReplayBuffer(max_size=5, frame_stack=frame_stack), 0
    for steps in (3, 17, 1, 6, 5, 2):
        buffer.add([numbered(added, steps)])
        added += steps
        assert buffer.added == added
        newest = np.arange(max(0, added - 5), added)
        np.testing.assert_array_equal(buffer.acs[newest % 5], newest)
        np.testing.assert_array_equal(buffer.obs[newest % 5, 0], newest)


@pytest.mark.parametrize("first", [4, 0])
def test_the_warning_about_dropped_steps_comes_once(first):
    buffer = ReplayBuffer(max_size=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        buffer.add([numbered(0, first)] if first else [])
    with pytest.warns(UserWarning, match="4 steps"):
        buffer.add([numbered(first, 6)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        buffer.add([numbered(first + 6, 9)])
    assert numbers_in(buffer) == list(range(first + 11, first + 15))


def test_draws_are_uniform_over_the_rows_that_were_added():
    buffer = ReplayBuffer()
    buffer.add([numbered(1000, 10)])  # the rest of the storage is not initialised
    draws = list(buffer.draws(100, np.random.default_rng(0), n_steps=200))
    assert len(draws) == 200
    assert all(rows.shape == (100,) for rows in draws)
    counts = np.bincount(buffer.batch(torch.cat(draws)).acs - 1000, minlength=10)
    assert len(counts) == 10 and chi_square(counts) < 30  # 9 degrees of freedom


def test_passes_visit_each_row_once():
    buffer = ReplayBuffer()
    buffer.add([numbered(0, 10)])
    draws = list(buffer.passes(4, np.random.default_rng(0), n_epochs=3))
    assert [len(rows) for rows in draws] == [4, 4, 2] * 3
    passes = torch.cat(draws).reshape(3, 10).tolist()
    assert all(sorted(one) == list(range(10)) for one in passes)
    assert passes[0] != passes[1] != sorted(passes[1])
