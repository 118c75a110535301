import numpy as np
import pytest
from fakes import ConstantActor, StepModuloThree, walk

from rl_il.dagger import RULES, CollectionRule, DAgger
from rl_il.errors import InputError
from rl_il.policies.actors import ScriptedActor
from rl_il.types import LEARNER, Trajectory


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
