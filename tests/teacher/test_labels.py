"""The training set of a session."""

import numpy as np
import pytest
from teaching import steps

from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.teacher.labels import Labels
from rl_il.types import HUMAN, LEARNER, Trajectory


def sample(labels, rows, seed=0):
    """Return a minibatch."""
    return labels.batch(labels.draw(rows, np.random.default_rng(seed)))


def drawn(labels, rows=4000, seed=0):
    """Return how often each step is drawn, in per cent."""
    batch = sample(labels, rows, seed)
    acs = batch.acs.numpy()
    assert (batch.obs[:, 0] == batch.acs).all()  # each observation comes with its label
    return {int(ac): 100 * np.mean(acs == ac) for ac in np.unique(acs)}


@pytest.mark.parametrize(
    "rule, expected",
    [
        ("human", {0: 50, 2: 50}),
        ("performed", {0: 25, 1: 25, 2: 25, 3: 25}),
        ("weighted", {0: 40, 1: 10, 2: 40, 3: 10}),
    ],
)
def test_a_step_is_drawn_in_proportion_to_its_weight(rule, expected):
    labels = Labels(rule, 0.25, ReplayBuffer(100))
    labels.add(steps(HUMAN, LEARNER, HUMAN, LEARNER))
    assert drawn(labels) == pytest.approx(expected, abs=3)


def test_labels_are_counted_by_who_chose_them():
    labels = Labels("weighted", 0.5, ReplayBuffer(100))
    labels.add(steps(HUMAN, LEARNER, LEARNER, labelled=[1, 1, 0]))
    assert labels.counts == {"human": 1, "approved": 1}
    assert (labels.added, len(labels)) == (2, 3)
    assert labels.labelled(0, 3).tolist() == [True, True, False]


def test_undone_labels_are_not_drawn():
    labels = Labels("performed", 1, ReplayBuffer(100))
    assert labels.draw(5, np.random.default_rng(0)) is None
    labels.add(steps(HUMAN, HUMAN, LEARNER, LEARNER))
    assert labels.undo(3) == 3
    assert drawn(labels) == {0: 100}
    assert labels.counts == {"human": 1, "approved": 0}
    assert labels.undo(99) == 1
    assert labels.draw(5, np.random.default_rng(0)) is None


@pytest.mark.filterwarnings("ignore:the replay buffer holds")
def test_a_full_buffer_keeps_the_newest_steps():
    labels = Labels("human", 1, ReplayBuffer(4))
    labels.add(steps(HUMAN, HUMAN, HUMAN))
    labels.add(steps(LEARNER, HUMAN, HUMAN))  # the first two of the others are gone
    assert drawn(labels) == pytest.approx({1: 100 / 3, 2: 200 / 3}, abs=3)
    assert labels.undo(3) == 2
    assert drawn(labels) == {2: 100}
    for _ in range(4):
        labels.add(steps(LEARNER))
    assert labels.draw(5, np.random.default_rng(0)) is None


@pytest.mark.filterwarnings("ignore:the replay buffer holds")
def test_an_episode_longer_than_the_buffer_keeps_weights_and_rows_together():
    labels = Labels("human", 1, ReplayBuffer(3))
    labels.add(steps(HUMAN, HUMAN, HUMAN, HUMAN, LEARNER, HUMAN, LEARNER, HUMAN))
    assert len(labels) == 8
    assert drawn(labels) == pytest.approx({5: 50, 7: 50}, abs=3)
    start = len(labels)
    labels.add(steps(LEARNER, HUMAN))
    assert labels.labelled(start, len(labels)).tolist() == [False, True]
    assert drawn(labels) == pytest.approx({1: 50, 7: 50}, abs=3)


def test_single_steps_are_stacked_as_whole_episodes_are():
    obs = np.arange(7, dtype=np.uint8)[:, None]
    episode = Trajectory(obs, np.arange(6), np.zeros(6), source=np.full(6, HUMAN, np.int8))
    labels, whole = (Labels("human", 1, ReplayBuffer(100, frame_stack=3)) for _ in range(2))
    for start in (0, 4):  # an episode of four steps, then one of two
        stop = start + 4 if start == 0 else 6
        for step in range(start, stop):
            labels.add(episode[step : step + 1], continued=step > start)
        whole.add(episode[start:stop])
    batches = [sample(each, 50) for each in (labels, whole)]
    assert batches[0].obs[:, :, 0].tolist() == batches[1].obs[:, :, 0].tolist()
    stacks = dict(zip(batches[0].acs.tolist(), batches[0].obs[:, :, 0].tolist(), strict=True))
    assert (stacks[3], stacks[4], stacks[5]) == ([1, 2, 3], [4, 4, 4], [4, 4, 5])
