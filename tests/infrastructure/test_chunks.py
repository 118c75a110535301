"""Chunks of successive labels: in the replay buffer, in training, and in whole runs."""

import copy

import numpy as np
import pytest
from fakes import walk
from test_frame_stack import counted
from test_rl_trainer import build

from rl_il.errors import InputError
from rl_il.infrastructure.replay_buffer import ReplayBuffer, labels_ahead
from rl_il.policies.mlp_policy import MLPPolicySL


def chunks(buffer: ReplayBuffer) -> dict[int, list[int]]:
    """Return the labels of each step that can be drawn, by its observation."""
    found = {}
    for rows in buffer.in_order(2):
        obs, acs, _ = buffer.batch(rows)
        assert acs.shape == (len(rows), buffer.chunk)
        found |= dict(zip(obs[:, 0].tolist(), acs.tolist(), strict=True))
    return found


@pytest.mark.parametrize(
    ("labelled", "chunk", "expected"),
    [
        ([1, 1, 1, 1], 3, [2, 2, 1, 0]),
        ([1, 1, 0, 1, 1], 3, [1, 0, -1, 1, 0]),
        ([0, 0], 2, [-1, -1]),
        ([1, 1], 1, [0, 0]),
        ([], 3, []),
    ],
)
def test_the_labels_ahead_end_at_a_gap(labelled, chunk, expected):
    assert labels_ahead(np.array(labelled, bool), chunk).tolist() == expected


def test_a_step_is_drawn_with_the_labels_from_it_on_if_there_are_enough():
    buffer = ReplayBuffer(chunk=3)
    buffer.add([counted(10, 4), counted(20, 2), counted(30, 3)])
    assert buffer.obs.shape == (9, 1)  # each step is stored once
    assert len(buffer) == 3
    assert chunks(buffer) == {10: [10, 11, 12], 11: [11, 12, 13], 30: [30, 31, 32]}


def test_padded_chunks_repeat_the_last_label():
    buffer = ReplayBuffer(chunk=3, pad=True)
    buffer.add([counted(10, 3), counted(20, 1)])
    assert chunks(buffer) == {10: [10, 11, 12], 11: [11, 12, 12], 12: [12, 12, 12], 20: [20, 20, 20]}


def test_steps_without_a_label_end_a_chunk():
    buffer = ReplayBuffer(chunk=2)
    buffer.add([counted(0, 6, labelled=np.array([True, True, False, True, True, True]))])
    assert chunks(buffer) == {0: [0, 1], 3: [3, 4], 4: [4, 5]}
    draws = {row for rows in buffer.draws(4, np.random.default_rng(0), 20) for row in rows.tolist()}
    assert draws == {0, 3, 4}


@pytest.mark.parametrize("cuts", [[3], [1, 4], [2, 3, 4, 5]])
def test_an_episode_in_parts_has_the_chunks_of_the_whole_episode(cuts):
    whole, parts = ReplayBuffer(chunk=3), ReplayBuffer(chunk=3)
    labelled = np.array([True, True, True, True, False, True, True])
    episode = counted(0, 7, labelled=labelled)
    for buffer in (whole, parts):
        buffer.add([counted(50, 4)])
    whole.add([episode])
    for start, stop in zip([0, *cuts], [*cuts, 7], strict=True):
        parts.add([episode[start:stop]], continued=start > 0)
    assert chunks(parts) == chunks(whole)


def test_in_a_full_buffer_chunks_go_round_the_end_and_have_no_overwritten_labels():
    buffer = ReplayBuffer(max_size=5, chunk=2)
    with pytest.warns(UserWarning, match="full"):
        buffer.add([counted(0, 3), counted(10, 3)])  # rows 3, 4 and 0
    assert chunks(buffer) == {1: [1, 2], 10: [10, 11], 11: [11, 12]}
    buffer.add([counted(20, 2)])
    assert chunks(buffer) == {10: [10, 11], 11: [11, 12], 20: [20, 21]}


def test_stacks_and_chunks_together():
    buffer = ReplayBuffer(frame_stack=2, chunk=2)
    buffer.add([counted(0, 3)])
    obs, acs, _ = buffer.batch(next(buffer.in_order(5)))
    assert obs[:, :, 0].tolist() == [[0, 0], [0, 1]]
    assert acs.tolist() == [[0, 1], [1, 2]]


def test_a_chunk_that_no_episode_has_is_an_error():
    policy = MLPPolicySL((2,), 3, True, size=8, chunk=9)
    with pytest.raises(InputError, match="9 labelled steps in a row"):
        build(policy).run_training_loop()
    build(copy.deepcopy(policy), pad_chunks=True).run_training_loop()


def test_held_out_steps_are_the_ends_of_episodes():
    policy = MLPPolicySL((2,), 3, True, size=8, chunk=2)
    trainer = build(policy, [walk(10, action=1), walk(20, action=2)], val_fraction=0.3)
    trainer.run_training_loop()
    assert (len(trainer.buffer), len(trainer.validation)) == (7 - 1 + 14 - 1, 3 - 1 + 6 - 1)
