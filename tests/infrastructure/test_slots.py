import numpy as np
import pytest
from fakes import BatchCounter, ConstantActor, Corridor, CorridorReader, Counters, FailingCorridor

from rl_il.dagger import Accompanied
from rl_il.infrastructure.rollouts import sample_trajectory
from rl_il.infrastructure.slots import Slot, Told, divide, make_slots
from rl_il.types import EXPERT, LEARNER


def test_a_slot_steps_through_an_episode_and_rests():
    env = Corridor()
    slot, told = Slot(env), Told((2,))
    ob, *rest = slot.step(2)
    assert ob.tolist() == [0, 0] and rest == [0, False, False, {}] and env.executed == []
    slot.take(told, told, 50, LEARNER)
    ob, info = slot.reset(seed=4)  # of 3 steps
    assert ob.tolist() == [0, 3] and info == {}
    obs = []
    for action in (2, 0):
        ob, reward, terminated, truncated, info = slot.step(action)
        obs.append(ob.tolist())
        assert (reward, terminated, truncated, info) == (0, False, False, {})
    assert obs == [[1, 3], [2, 3]]
    _, _, over, _, info = slot.step(1)
    assert over and info["trajectory"].acs.tolist() == env.executed == [2, 0, 1]
    assert slot.step(2)[2:] == (False, False, {}) and len(env.executed) == 3
    slot.reset(seed=4)
    slot.step(1)
    slot.take(ConstantActor(2), None, 2, EXPERT)
    assert slot.step(0)[4] == {} and len(env.executed) == 4  # the episode was dropped
    slot.reset(seed=5)
    assert slot.step(None)[4] == {}
    trajectory = slot.step(None)[4]["trajectory"]
    assert (trajectory.acs.tolist(), trajectory.labels.tolist(), trajectory.truncated) == ([2, 2], [2, 2], True)
    assert trajectory.source.tolist() == [EXPERT, EXPERT]


def test_a_slot_says_what_failed():
    slot = Slot(FailingCorridor())
    slot.take(ConstantActor(1), None, 50, LEARNER)
    slot.reset(seed=3)
    slot.step(None), slot.step(None)
    info = slot.step(None)[4]
    assert info["error"].startswith("FailingCorridor failed in step 3 of the episode from seed 3: ZeroDivisionError")
    assert slot.step(None)[4] == {}


def test_the_learner_acts_in_batches_and_the_expert_beside_the_environment():
    learner, expert = BatchCounter(), CorridorReader()
    policy, beside, told = divide(learner, 3)
    assert isinstance(policy, Counters) and len(policy.counters) == 3 and beside is told
    accompanied = Accompanied(learner, expert, beta=0.3)
    policy, beside, told = divide(accompanied, 2)
    assert isinstance(policy, Counters) and accompanied.learner is learner
    assert isinstance(beside, Accompanied) and beside.learner is told
    assert (beside.expert, beside.beta, told.ob_shape) == (expert, 0.3, (2,))


@pytest.mark.parametrize(
    "actor", [ConstantActor(1), CorridorReader(), Accompanied(ConstantActor(1), CorridorReader())]
)
def test_who_makes_no_batches_stays_whole(actor):
    assert divide(actor, 2) == (None, actor, None)


def test_one_slot_is_the_environment_itself():
    env = Corridor()
    envs = make_slots("Corridor-v0", env, 1)
    actor = ConstantActor(1)
    envs.call("take", actor, None, 50, LEARNER)
    envs.reset(seed=[7])
    for _ in range(6):
        infos = envs.step([None])[4]
    np.testing.assert_array_equal(infos["trajectory"][0].obs, sample_trajectory(Corridor(), actor, 7, 50).obs)
    assert env.seeds == [7]
    closed = []
    env.close = lambda: closed.append(True)
    envs.close()
    assert closed == []  # it is not this one's
