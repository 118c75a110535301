"""The training set of a session, and the learner."""

import threading

import numpy as np
import pytest
import torch
from fakes import CountingPolicy, walk

from rl_il.errors import DivergedError
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.infrastructure.seeding import stream
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.teacher.labels import Labels
from rl_il.teacher.learner import MOST_OWED, Learner
from rl_il.types import HUMAN, LEARNER, Trajectory


def steps(*sources, labelled=None):
    """A walk with these sources whose actions are the steps' numbers."""
    n = len(sources)
    labelled = None if labelled is None else np.array(labelled, bool)
    return walk(n, acs=np.arange(n), source=np.array(sources, np.int8), labelled=labelled)


def drawn(labels, rows=4000, seed=0):
    """How often each step is drawn, in per cent."""
    acs = labels.sample(rows, np.random.default_rng(seed)).acs.numpy()
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


def test_what_is_undone_is_not_drawn_any_more():
    labels = Labels("performed", 1, ReplayBuffer(100))
    labels.add(steps(HUMAN, HUMAN, LEARNER, LEARNER))
    assert labels.undo(3) == 3
    assert drawn(labels) == {0: 100}
    assert labels.counts == {"human": 1, "approved": 0}
    assert labels.undo(99) == 1
    assert labels.sample(5, np.random.default_rng(0)) is None


def test_without_labels_nothing_is_drawn():
    labels = Labels("human", 1, ReplayBuffer(100))
    assert labels.sample(5, np.random.default_rng(0)) is None
    labels.add(steps(LEARNER, LEARNER))
    assert labels.sample(5, np.random.default_rng(0)) is None


def test_an_observation_stays_with_its_label():
    labels = Labels("human", 1, ReplayBuffer(100))
    for _ in range(3):
        labels.add(steps(LEARNER, HUMAN, HUMAN))
    batch = labels.sample(50, np.random.default_rng(0))
    assert (batch.obs[:, 0] == batch.acs).all()
    assert {*batch.acs.tolist()} == {1, 2}


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
    assert labels.sample(5, np.random.default_rng(0)) is None


def test_thousands_of_steps_are_kept():
    labels = Labels("human", 1, ReplayBuffer(10_000))
    for _ in range(500):
        labels.add(steps(HUMAN, LEARNER, HUMAN, HUMAN, HUMAN))
    assert (len(labels), labels.counts) == (2500, {"human": 2000, "approved": 0})
    assert 1 not in drawn(labels)


# The learner -----------------------------------------------------------------------------------------------


def make_learner(policy=None, labels=None, **settings):
    if labels is None:
        labels = Labels("human", 1, ReplayBuffer(100))
        labels.add(steps(HUMAN, HUMAN, HUMAN))
    return Learner(policy or CountingPolicy(), labels, seed=1, rows=8, **settings)


@pytest.mark.parametrize("per_step, grants, made", [(4, 3, 12), (0.5, 3, 1), (0, 9, 0)])
def test_gradient_steps_are_earned_by_steps(per_step, grants, made):
    learner = make_learner(updates_per_step=per_step)
    for _ in range(grants):
        learner.grant()
    assert learner.work() == made
    assert (learner.updates, len(learner.policy.batches)) == (made, made)
    assert learner.work() == 0


def test_halves_add_up():
    learner = make_learner(updates_per_step=0.5)
    made = []
    for _ in range(4):
        learner.grant()
        made.append(learner.work())
    assert made == [0, 1, 0, 1]


def test_what_is_owed_is_bounded():
    learner = make_learner(updates_per_step=100)
    for _ in range(100):
        learner.grant()
    assert learner.work(10 * MOST_OWED) == MOST_OWED


def test_a_snapshot_every_so_many_steps():
    learner = make_learner(updates_per_step=10, publish_every=4)
    first = learner.newest
    learner.grant()
    learner.work(3)
    assert learner.newest is first and (first.number, first.updates) == (0, 0)
    learner.work()
    assert (learner.newest.number, learner.newest.updates) == (2, 8)


def test_without_labels_nothing_is_learnt_and_nothing_is_saved_up():
    labels = Labels("human", 1, ReplayBuffer(100))
    learner = make_learner(labels=labels, updates_per_step=5)
    learner.grant()
    assert learner.work() == 0
    labels.add(steps(HUMAN))
    assert learner.work() == 0
    learner.grant()
    assert learner.work() == 5


def test_it_rests_until_there_is_a_new_label():
    learner = make_learner(updates_per_step=5, rest_after=7)
    for _ in range(4):
        learner.grant()
        learner.work()
    assert (learner.updates, learner.resting) == (7, True)
    learner.labels.add(steps(LEARNER))
    learner.grant()
    assert learner.work() == 0
    learner.labels.add(steps(HUMAN))
    learner.grant()
    assert learner.work() == 5
    assert not learner.resting


def test_minibatches_follow_from_the_seed_and_the_episode():
    batches = []
    for episodes in ([0, 1], [1]):
        learner = make_learner(updates_per_step=2)
        for episode in episodes:
            learner.begin_episode(episode)
            learner.grant()
            learner.work()
        batches.append(learner.policy.batches[-2:])
    np.testing.assert_array_equal(*[[acs for _, acs in pair] for pair in batches])
    expected = learner.labels.sample(8, stream(1, "training", 1)).acs
    np.testing.assert_array_equal(batches[0][0][1], expected)


def test_the_loss_is_a_running_mean():
    learner = make_learner(updates_per_step=2)  # its losses are 0 and 1
    assert learner.loss is None
    learner.grant()
    learner.work()
    assert learner.loss == pytest.approx(0.02)


class NaNPolicy(CountingPolicy):
    def update(self, observations, actions):
        return {"Training Loss": float("nan")}


def test_a_loss_that_is_no_number_ends_it():
    learner = make_learner(NaNPolicy())
    learner.grant()
    with pytest.raises(DivergedError, match="the training loss became nan"):
        learner.work()


def mlp(seed=3):
    return MLPPolicySL((2,), 3, True, size=4, seed=seed)


def test_a_snapshot_does_not_change_while_training_goes_on():
    learner = make_learner(mlp(), updates_per_step=20, publish_every=10)
    learner.grant()
    learner.work(10)
    snapshot, obs = learner.newest, walk(50).obs
    before, weights = snapshot.actor.get_action(obs), {k: v.clone() for k, v in snapshot.weights.items()}
    learner.policy.learning_rate = 1
    learner.work()
    np.testing.assert_array_equal(snapshot.actor.get_action(obs), before)
    assert all(torch.equal(snapshot.weights[name], weights[name]) for name in weights)


def test_going_on_from_its_state_gives_the_very_same_weights():
    def run(learner, episodes):
        for episode in episodes:
            learner.begin_episode(episode)
            learner.grant()
            learner.work()
        return learner

    settings = {"updates_per_step": 7.5, "publish_every": 4}
    straight = run(make_learner(mlp(), **settings), range(4))
    half = run(make_learner(mlp(), **settings), range(2))
    again = make_learner(mlp(seed=9), **settings)
    again.restore(half.state())
    run(again, range(2, 4))
    for name, value in straight.policy.state_dict().items():
        assert torch.equal(value, again.policy.state_dict()[name])
    assert (again.updates, again.loss, again.newest[:2]) == (straight.updates, straight.loss, straight.newest[:2])
    for name, value in straight.newest.weights.items():
        assert torch.equal(value, again.newest.weights[name])


def test_a_thread_does_the_same_work_and_ends_when_it_is_told():
    done = threading.Event()

    class Last(CountingPolicy):
        def update(self, observations, actions):
            result = super().update(observations, actions)
            if len(self.batches) == 6:
                done.set()
            return result

    learner = make_learner(Last(), updates_per_step=3)
    learner.start()
    learner.grant()
    learner.grant()
    assert done.wait(10)
    learner.stop()
    assert learner.updates == 6
    learner.check()
    learner.grant()
    assert learner.updates == 6


def test_what_ends_the_thread_is_raised_where_somebody_sees_it():
    learner = make_learner(NaNPolicy())
    learner.start()
    learner.grant()
    learner._thread.join(10)
    with pytest.raises(DivergedError):
        learner.check()
    learner.stop()


def test_steps_that_come_one_at_a_time_are_stacked_as_whole_episodes_are():
    obs = np.arange(7, dtype=np.uint8)[:, None]
    episode = Trajectory(obs, np.arange(6), np.zeros(6), source=np.full(6, HUMAN, np.int8))
    labels, whole = (Labels("human", 1, ReplayBuffer(100, frame_stack=3)) for _ in range(2))
    for start in (0, 4):  # an episode of four steps, then one of two
        stop = start + 4 if start == 0 else 6
        for step in range(start, stop):
            labels.add(episode[step : step + 1], continued=step > start)
        whole.add(episode[start:stop])
    batches = [each.sample(50, np.random.default_rng(0)) for each in (labels, whole)]
    assert batches[0].obs[:, :, 0].tolist() == batches[1].obs[:, :, 0].tolist()
    stacks = dict(zip(batches[0].acs.tolist(), batches[0].obs[:, :, 0].tolist(), strict=True))
    assert (stacks[3], stacks[4], stacks[5]) == ([1, 2, 3], [4, 4, 4], [4, 4, 5])
