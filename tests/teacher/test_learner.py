"""Gradient steps for environment steps, and snapshots."""

import numpy as np
import pytest
import torch
from fake_policy import CountingPolicy
from fakes import walk
from talking import wait_for
from teaching import steps

from rl_il.errors import DivergedError
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.seeding import stream
from rl_il.teacher.labels import Labels
from rl_il.teacher.learner import MAX_OWED, Learner
from rl_il.teacher.settings import TeachConfig
from rl_il.types import HUMAN, LEARNER


def make_learner(policy=None, labels=None, **settings):
    if labels is None:
        labels = Labels("human", 1, ReplayBuffer(100))
        labels.add(steps(HUMAN, HUMAN, HUMAN))
    return Learner(policy or CountingPolicy(), labels, TeachConfig(train_batch_size=8, **settings))


def work(learner, grants=1):
    """Return how many gradient steps are made after each of so many environment steps."""
    made = []
    for _ in range(grants):
        learner.grant()
        made.append(learner.work())
    return made


@pytest.mark.parametrize("per_step, made", [(4, [4, 4, 4]), (0.5, [0, 1, 0, 1]), (0, [0, 0])])
def test_each_environment_step_adds_gradient_steps(per_step, made):
    learner = make_learner(updates_per_step=per_step)
    assert work(learner, len(made)) == made
    assert learner.updates == len(learner.policy.batches) == sum(made)
    assert learner.work() == 0


def test_the_number_of_owed_steps_is_limited():
    learner = make_learner(updates_per_step=100)
    for _ in range(100):
        learner.grant()
    assert learner.work(10 * MAX_OWED) == MAX_OWED


def test_a_snapshot_is_taken_every_publish_every_steps():
    learner = make_learner(updates_per_step=10, publish_every=4)
    first = learner.newest
    learner.grant()
    learner.work(3)
    assert learner.newest is first and (first.number, first.updates) == (0, 0)
    learner.work()
    assert (learner.newest.number, learner.newest.updates) == (2, 8)


def test_without_labels_no_gradient_steps_are_made_or_owed():
    labels = Labels("human", 1, ReplayBuffer(100))
    learner = make_learner(labels=labels, updates_per_step=5)
    assert work(learner) == [0]
    labels.add(steps(HUMAN))
    assert learner.work() == 0
    assert work(learner) == [5]


def test_training_rests_until_there_is_a_new_label():
    learner = make_learner(updates_per_step=5, rest_after=7)
    assert work(learner, 4) == [5, 2, 0, 0] and learner.resting
    learner.labels.add(steps(LEARNER))
    assert work(learner) == [0]
    learner.labels.add(steps(HUMAN))
    assert work(learner) == [5] and not learner.resting


def test_minibatches_follow_from_the_seed_and_the_episode():
    learner = make_learner(updates_per_step=2)
    for episode in range(2):
        learner.begin_episode(episode)
        work(learner)
    rng = stream(1, "training", 1)
    for _, acs in learner.policy.batches[-2:]:
        np.testing.assert_array_equal(acs, learner.labels.batch(learner.labels.draw(8, rng)).acs)


def test_the_loss_is_a_running_mean():
    learner = make_learner(updates_per_step=2)  # its losses are 0 and 1
    assert learner.loss is None
    work(learner)
    assert learner.loss == pytest.approx(0.02)


class NaNPolicy(CountingPolicy):
    def update(self, observations, actions, noise=None):
        return {"Training Loss": float("nan")}


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


def test_a_restored_learner_ends_with_the_same_weights():
    def run(learner, episodes):
        for episode in episodes:
            learner.begin_episode(episode)
            work(learner)
        return learner

    settings = {"updates_per_step": 7.5, "publish_every": 4}
    straight = run(make_learner(mlp(), **settings), range(4))
    half = run(make_learner(mlp(), **settings), range(2))
    again = make_learner(mlp(seed=9), **settings)
    again.restore(half.state())
    run(again, range(2, 4))
    assert (again.updates, again.loss, again.newest[:2]) == (straight.updates, straight.loss, straight.newest[:2])
    torch.testing.assert_close(again.policy.state_dict(), straight.policy.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(again.newest.weights, straight.newest.weights, rtol=0, atol=0)


def test_the_thread_does_the_same_work_and_stops():
    learner = make_learner(updates_per_step=3)
    learner.start()
    learner.grant()
    learner.grant()
    wait_for(lambda: learner.updates == 6)
    learner.stop()
    learner.check()
    learner.grant()
    assert learner.updates == len(learner.policy.batches) == 6


def test_check_raises_the_error_that_ended_the_thread():
    learner = make_learner(NaNPolicy())
    learner.start()
    learner.grant()
    learner._thread.join(10)
    with pytest.raises(DivergedError, match="nan"):
        learner.check()
    learner.stop()


@pytest.mark.parametrize(
    ("settings", "limit", "compiles"),
    [
        ({"teacher": "scripted", "episodes": 5}, 750, True),  # 5 x 750 x 4 gradient steps
        ({"teacher": "scripted", "episodes": 5}, 749, False),
        ({"teacher": "scripted"}, 375, True),  # 10 episodes
        ({"episodes": 5}, 10**9, False),
        ({"teacher": "scripted", "compile": "on"}, 1, True),
        ({"compile": "on"}, 10**9, False),  # with a person, eager steps are fast enough
        ({"teacher": "scripted", "compile": "off"}, 10**9, False),
    ],
)
def test_long_sessions_of_the_scripted_teacher_are_compiled(settings, limit, compiles):
    assert TeachConfig(**settings).compiles(limit) is compiles


def test_compiled_and_eager_learners_agree_and_a_restored_one_stays_compiled():
    learners = []
    for compiles in (False, True):
        labels = Labels("human", 1, ReplayBuffer(100))
        labels.add(walk(30, action=1))
        policy = MLPPolicySL((2,), 3, True, size=8, n_layers=1, seed=3)
        learners.append(Learner(policy, labels, TeachConfig(train_batch_size=8, updates_per_step=50), compiles))
        assert work(learners[-1], 2) == [50, 50]
    eager, fast = (learner.policy.state_dict() for learner in learners)
    assert fast.keys() == eager.keys()
    for name in eager:
        torch.testing.assert_close(fast[name], eager[name], rtol=1e-5, atol=1e-5)
    other = make_learner(MLPPolicySL((2,), 3, True, size=8, n_layers=1))
    other.restore(learners[1].state())
    assert other.fit.compiles
