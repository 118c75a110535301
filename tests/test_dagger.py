import numpy as np
import pytest
from fakes import PICTURE, ConstantActor, StepCounter, StepModuloThree, walk

from rl_il.dagger import RULES, Accompanied, CollectionRule, DAgger
from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.infrastructure.rollouts import sample_trajectory
from rl_il.policies.actors import ScriptedActor
from rl_il.types import EXPERT, LEARNER, Trajectory


def test_every_state_gets_the_experts_action():
    labelled = DAgger(StepModuloThree()).label(walk(5, action=1))
    np.testing.assert_array_equal(labelled.labels, [0, 1, 2, 0, 1])
    assert labelled.labelled_steps.all()
    assert labelled.labels.dtype == np.int64


def test_what_was_executed_stays():
    before = walk(4, action=1, source=np.full(4, LEARNER, np.int8), terminated=False, truncated=True)
    labelled = DAgger(StepModuloThree()).label(before)
    for name in ("obs", "acs", "rewards", "source"):
        np.testing.assert_array_equal(getattr(labelled, name), getattr(before, name))
    assert (labelled.terminated, labelled.truncated) == (False, True)
    assert labelled.episode_return == 4
    assert before.expert_acs is None


def test_continuous_labels_are_not_clipped():
    before = Trajectory(np.ones((4, 2), np.float32), np.zeros((3, 2), np.float32), np.zeros(3))
    labelled = DAgger(ScriptedActor(lambda obs: 5 * np.float64(obs), (2,))).label(before)
    np.testing.assert_array_equal(labelled.labels, np.full((3, 2), 5))
    np.testing.assert_array_equal(labelled.acs, np.zeros((3, 2)))
    assert labelled.labels.dtype == np.float32


def test_the_expert_is_asked_once_an_episode_about_all_its_states():
    asked = []

    def rule(obs):
        asked.append(obs)
        return np.zeros(len(obs), int)

    trajectory = walk(6)
    DAgger(ScriptedActor(rule, (2,))).label(trajectory)
    assert len(asked) == 1
    np.testing.assert_array_equal(asked[0], trajectory.obs[:-1])


@pytest.mark.parametrize("itr", [1, 2, 9])
def test_the_learner_acts(itr):
    learner = ConstantActor(1)
    assert DAgger(StepModuloThree()).actor(learner, itr) is learner


@pytest.mark.parametrize("name", RULES)
def test_every_rule_says_who_acts_and_which_steps_are_labelled(name):
    rule = RULES[name](StepModuloThree())
    assert isinstance(rule, CollectionRule)
    assert callable(rule.actor(ConstantActor(1), 1).get_action)
    labelled = rule.label(walk(5, action=1))
    asked = labelled.labelled_steps
    np.testing.assert_array_equal(labelled.labels[asked], np.array([0, 1, 2, 0, 1])[asked])
    np.testing.assert_array_equal(labelled.acs, [1] * 5)


def test_dagger_is_in_the_table():
    assert RULES["dagger"] is DAgger


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(3), r"must be like the actions, int64 of shape \(4,\); got float64 of shape \(3,\)"),
        (np.zeros(4), "got float64"),
        (np.zeros((4, 1), int), r"got int64 of shape \(4, 1\)"),
    ],
)
def test_labels_that_are_no_actions_are_refused(labels, message):
    expert = ConstantActor(0)
    expert.get_action = lambda obs: labels
    with pytest.raises(InputError, match=message):
        DAgger(expert).label(walk(4))


def test_a_label_that_is_no_number_is_refused():
    expert = ConstantActor(np.array([1.0, np.nan]))
    trajectory = walk(4, acs=np.zeros((4, 2), np.float32))
    with pytest.raises(InputError, match=r"the expert's labels: expert_acs hold NaN or infinity \(first in row 0"):
        DAgger(expert).label(trajectory)


# The expert beside the learner -------------------------------------------------------------------------------


def test_an_expert_that_reads_the_simulator_labels_during_the_rollout():
    rule = DAgger(StepCounter())
    learner = ConstantActor(np.array([0.5, -3.0], np.float32), PICTURE)
    rolled = sample_trajectory(make_env("PictureCorridor-v0"), rule.actor(learner, 1), seed=2)
    labelled = rule.label(rolled)
    np.testing.assert_allclose(labelled.labels, [[t / 100] * 2 for t in range(5)])
    np.testing.assert_allclose(labelled.acs, [[0.5, -1.0]] * 5)  # executed: clipped
    np.testing.assert_array_equal(labelled.source, [LEARNER] * 5)
    assert labelled.labelled_steps.all() and labelled.episode_return == 2.5


class Remembering(ConstantActor):
    """Answers how many observations of the episode it has seen, which it can only if each comes once, in turn."""

    frame_stack = 2

    def reset(self, seed=0):
        self.seen = 0

    def get_action(self, obs):
        assert obs.shape == self.ob_shape
        self.seen += 1
        return np.int64(self.seen % 3)


def test_an_expert_that_remembers_is_asked_about_each_state_once():
    rule = DAgger(Remembering(0))
    rolled = sample_trajectory(make_env("Corridor-v0"), rule.actor(ConstantActor(1), 3), seed=3)
    np.testing.assert_array_equal(rule.label(rolled).labels, [1, 2, 0, 1, 2, 0])
    np.testing.assert_array_equal(rolled.acs, [1] * 6)


@pytest.mark.parametrize("itr", [1, 3])
def test_beta_is_how_often_the_expert_acts(itr):
    """Ross et al.: beta_i = p^i. Over 4,000 steps its share is within five standard deviations of that."""
    actor = DAgger(StepModuloThree(), beta_decay=0.6).actor(ConstantActor(1), itr)
    actor.reset(seed=1)
    obs = np.array([2, 9], np.float32)
    acs = np.array([(actor.get_action(obs), actor.source, actor.expert_label) for _ in range(4000)])
    beta = 0.6**itr
    assert abs((acs[:, 1] == EXPERT).mean() - beta) < 5 * (beta * (1 - beta) / 4000) ** 0.5
    np.testing.assert_array_equal(acs[:, 0], np.where(acs[:, 1] == EXPERT, 2, 1))
    np.testing.assert_array_equal(acs[:, 2], [2] * 4000)


def test_who_acts_follows_from_the_episodes_seed():
    actor = Accompanied(ConstantActor(1), StepModuloThree(), beta=0.5)

    def sources(seed):
        actor.reset(seed)
        return [(actor.get_action(np.array([0, 9], np.float32)), actor.source)[1] for _ in range(40)]

    assert sources(7) == sources(7) != sources(8)


def test_a_trajectory_says_which_steps_the_expert_took():
    actor = Accompanied(ConstantActor(1), StepModuloThree(), beta=0.5)
    rolled = sample_trajectory(make_env("TimedCorridor-v0"), actor, seed=4)
    np.testing.assert_array_equal(rolled.expert_acs, [0, 1, 2, 0, 1])
    np.testing.assert_array_equal(rolled.acs, np.where(rolled.source == EXPERT, rolled.expert_acs, 1))
    assert {*rolled.source.tolist()} == {LEARNER, EXPERT}


def test_both_are_reset_where_an_episode_starts():
    learner, expert = ConstantActor(1), ConstantActor(2)
    Accompanied(learner, expert).reset(5)
    assert (learner.seeds, expert.seeds) == ([5], [5])
