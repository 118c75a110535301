"""Stacks of successive observations in the replay buffer."""

import numpy as np
import pytest
import torch

from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.types import Trajectory


def counted(first: int, steps: int, **fields) -> Trajectory:
    """Return steps `first, first + 1, ...`. The observation (uint8) and the label of a step are its number."""
    numbers = np.arange(first, first + steps + 1, dtype=np.uint8)
    return Trajectory(numbers[:, None], numbers[:-1].astype(np.int64), np.zeros(steps), **fields)


def stacks(buffer: ReplayBuffer) -> dict[int, list[int]]:
    """Return the stack of each step that can be drawn, by its label."""
    found = {}
    for rows in buffer.in_order(2):
        obs, acs, _ = buffer.batch(rows)
        assert obs.dtype == torch.uint8 and obs.shape == (len(rows), buffer.frame_stack, 1)
        found |= dict(zip(acs.tolist(), obs[:, :, 0].tolist(), strict=True))
    return found


def test_an_observation_is_stacked_with_those_before_it():
    buffer = ReplayBuffer(frame_stack=3)
    buffer.add([counted(10, 4), counted(20, 2)])
    assert buffer.obs.shape == (6, 1)  # each observation is stored once
    assert stacks(buffer) == {
        10: [10, 10, 10], 11: [10, 10, 11], 12: [10, 11, 12], 13: [11, 12, 13], 20: [20, 20, 20], 21: [20, 20, 21],
    }  # fmt: skip


def test_unlabelled_steps_are_stacked_but_not_drawn():
    buffer = ReplayBuffer(frame_stack=2)
    buffer.add([counted(30, 3, labelled=np.zeros(3, bool))])
    assert len(buffer) == 0
    buffer.add([counted(0, 5, labelled=np.array([True, False, False, True, False]))])
    buffer.add([counted(10, 1)])
    assert len(buffer) == 3
    assert stacks(buffer) == {0: [0, 0], 3: [2, 3], 10: [10, 10]}
    rng = np.random.default_rng(0)
    drawn = {label for rows in buffer.draws(5, rng, 20) for label in buffer.batch(rows).acs.tolist()}
    assert drawn == {0, 3, 10}
    once = [label for rows in buffer.passes(2, rng, 1) for label in buffer.batch(rows).acs.tolist()]
    assert sorted(once) == [0, 3, 10]


@pytest.mark.filterwarnings("ignore:the replay buffer holds")
def test_stacks_of_the_oldest_rows_have_no_overwritten_rows():
    buffer = ReplayBuffer(max_size=6, frame_stack=3)
    buffer.add([counted(0, 5)])
    buffer.add([counted(20, 3)])  # in the places of steps 5 (none), 0 and 1
    assert stacks(buffer) == {
        2: [2, 2, 2], 3: [2, 2, 3], 4: [2, 3, 4], 20: [20, 20, 20], 21: [20, 20, 21], 22: [20, 21, 22],
    }  # fmt: skip
    buffer.add([counted(40, 1)])
    assert stacks(buffer)[4] == [3, 3, 4]


@pytest.mark.filterwarnings("ignore:the replay buffer holds")
def test_an_episode_longer_than_the_ring_keeps_its_end():
    buffer = ReplayBuffer(max_size=3, frame_stack=2)
    buffer.add([counted(0, 8)])
    assert stacks(buffer) == {5: [5, 5], 6: [5, 6], 7: [6, 7]}


def test_an_episode_may_come_in_pieces():
    whole, pieces = ReplayBuffer(frame_stack=3), ReplayBuffer(frame_stack=3)
    episodes = [counted(0, 5), counted(20, 3)]
    whole.add(episodes)
    for episode in episodes:
        for step in range(len(episode)):
            pieces.add([episode[step : step + 1]], continued=step > 0)
    assert stacks(pieces) == stacks(whole)
