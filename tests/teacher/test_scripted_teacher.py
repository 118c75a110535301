import numpy as np
import pytest
from fakes import OB_SHAPE, ConstantActor, StepModuloThree
from teaching import Watcher, finish_episode, make_session

from rl_il.envs.keys import LUNAR_LANDER_CONTINUOUS, MOUNTAIN_CAR
from rl_il.teacher.acting import ScriptedTeacher
from rl_il.teacher.settings import TeachConfig
from rl_il.types import EXPERT, LEARNER

RIGHT, LEFT, NOTHING = ("ArrowRight",), ("ArrowLeft",), ("ArrowDown",)


def presses(teacher, agent_actions, obs=None):
    """Return the keys that the teacher presses at each of the steps."""
    obs = obs or [[0, 0]] * len(agent_actions)
    return [teacher.choose(np.array(ob, np.float32), np.int64(a)) for ob, a in zip(obs, agent_actions, strict=True)]


def make(expert=None, keys=MOUNTAIN_CAR, first_episode=0, **settings):
    noise, settings = settings.pop("noise", 0), {"disagreement_steps": 3, "takeover_steps": 2} | settings
    config = TeachConfig(teacher=f"scripted:{noise}", **settings)
    teacher = ScriptedTeacher(expert or ConstantActor(np.int64(2)), keys, config, first_episode)
    teacher.reset(5)
    return teacher


@pytest.mark.parametrize(
    "agent, pressed",
    [
        ([0, 0, 2, 0, 0, 0], [(), (), (), (), (), RIGHT]),  # three disagreements in a row
        ([0, 0, 0, 2, 2, 2], [(), (), RIGHT, RIGHT, (), ()]),  # it acts for at least two steps,
        ([0, 0, 0, 0, 0, 0, 2], [(), (), RIGHT, RIGHT, RIGHT, RIGHT, ()]),  # and until they agree
    ],
)
def test_when_it_takes_over_and_when_it_stops(agent, pressed):
    teacher = make()
    presses(teacher, [0, 0])
    teacher.reset(6)  # the disagreements of the last episode are forgotten
    assert presses(teacher, agent) == pressed


def test_it_presses_the_key_of_the_experts_action():
    teacher = make(StepModuloThree(), disagreement_steps=1)
    obs = [[step, 9] for step in range(4)]
    assert presses(teacher, [1, 0, 0, 1], obs) == [LEFT, NOTHING, RIGHT, LEFT]


def test_the_expert_is_reset_and_gets_the_environment():
    expert, env = Watcher(np.int64(2)), object()
    teacher = make(expert)
    teacher.watch(env)
    assert (expert.watched, expert.seeds) == (env, [5])


class Remembering(ConstantActor):
    remembers = True


@pytest.mark.parametrize("actor_class", [ConstantActor, Remembering])
def test_the_expert_is_asked_once_a_step(actor_class):
    expert, asked = actor_class(np.int64(2)), []
    get_action = expert.get_action
    expert.get_action = lambda ob: asked.append(ob[0]) or get_action(ob)
    session = make_session(teacher=make(expert))
    finish_episode(session)
    assert asked == [0, 1, 2, 3, 4]
    trajectory = session.ended_episodes[0].trajectory
    assert trajectory.source.tolist() == [LEARNER] * 2 + [EXPERT] * 3
    assert trajectory.acs.tolist() == [0, 0, 2, 2, 2]
    assert trajectory.expert_acs is None


def test_noise_presses_wrong_keys_the_same_ones_for_the_same_seed():
    def held(seed, first_episode=0):
        settings = {"noise": 0.3, "disagreement_steps": 1, "takeover_steps": 10**6, "seed": seed}
        return presses(make(first_episode=first_episode, **settings), [0] * 500)

    first = held(4)
    wrong = [codes for codes in first if codes != RIGHT]
    assert 0.2 < len(wrong) / 500 < 0.4
    assert {*wrong} == {LEFT, NOTHING}
    assert first == held(4) != held(5) and first != held(4, first_episode=1)
    assert {*presses(make(disagreement_steps=1), [0] * 50)} == {RIGHT}  # without noise no key is wrong


@pytest.mark.parametrize("agent, codes", [([0.7, 0.1], ()), ([-0.3, -0.2], ("ArrowDown",))])
def test_continuous_actions_agree_if_the_same_keys_are_nearest(agent, codes):
    expert = ConstantActor(np.array([0.9, 0.3], np.float32))
    teacher = make(expert, LUNAR_LANDER_CONTINUOUS, disagreement_steps=1)
    assert teacher.choose(np.zeros(OB_SHAPE, np.float32), np.array(agent)) == codes
