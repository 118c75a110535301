import numpy as np
import pytest
from fakes import OB_SHAPE, ConstantActor, StepModuloThree
from teaching import Watcher, finish_episode, make_session

from rl_il.envs.keys import LUNAR_LANDER_CONTINUOUS, MOUNTAIN_CAR
from rl_il.teacher.acting import StandIn
from rl_il.teacher.settings import TeachConfig
from rl_il.types import EXPERT, LEARNER

RIGHT, LEFT, NOTHING = ("ArrowRight",), ("ArrowLeft",), ("ArrowDown",)


def presses(standin, agent_actions, obs=None):
    """What it presses at each of the steps."""
    obs = obs or [[0, 0]] * len(agent_actions)
    return [standin.choose(np.array(ob, np.float32), np.int64(a)) for ob, a in zip(obs, agent_actions, strict=True)]


def make(expert=None, keys=MOUNTAIN_CAR, first_episode=0, **settings):
    noise, settings = settings.pop("noise", 0), {"disagreement_steps": 3, "takeover_steps": 2} | settings
    config = TeachConfig(teacher=f"scripted:{noise}", **settings)
    standin = StandIn(expert or ConstantActor(np.int64(2)), keys, config, first_episode)
    standin.reset(5)
    return standin


@pytest.mark.parametrize(
    "agent, pressed",
    [
        ([0, 0, 2, 0, 0, 0], [(), (), (), (), (), RIGHT]),  # three disagreements in a row
        ([0, 0, 0, 2, 2, 2], [(), (), RIGHT, RIGHT, (), ()]),  # it acts for two steps at least,
        ([0, 0, 0, 0, 0, 0, 2], [(), (), RIGHT, RIGHT, RIGHT, RIGHT, ()]),  # and until they agree
    ],
)
def test_when_it_takes_over_and_lets_go(agent, pressed):
    standin = make()
    presses(standin, [0, 0])
    standin.reset(6)  # a new episode starts with clean hands
    assert presses(standin, agent) == pressed


def test_it_presses_what_the_expert_does_at_each_step():
    standin = make(StepModuloThree(), disagreement_steps=1)
    obs = [[step, 9] for step in range(4)]
    assert presses(standin, [1, 0, 0, 1], obs) == [LEFT, NOTHING, RIGHT, LEFT]


def test_the_expert_is_reset_and_shown_the_simulator():
    expert, env = Watcher(np.int64(2)), object()
    standin = make(expert)
    standin.watch(env)
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


def test_noise_presses_wrong_keys_and_the_same_ones_for_a_seed():
    def held(seed, first_episode=0):
        settings = {"noise": 0.3, "disagreement_steps": 1, "takeover_steps": 10**6, "seed": seed}
        return presses(make(first_episode=first_episode, **settings), [0] * 500)

    first = held(4)
    wrong = [codes for codes in first if codes != RIGHT]
    assert 0.2 < len(wrong) / 500 < 0.4
    assert {*wrong} == {LEFT, NOTHING}
    assert first == held(4) != held(5) and first != held(4, first_episode=1)
    assert {*presses(make(disagreement_steps=1), [0] * 50)} == {RIGHT}  # without noise none is wrong


@pytest.mark.parametrize("agent, codes", [([0.7, 0.1], ()), ([-0.3, -0.2], ("ArrowDown",))])
def test_continuous_actions_agree_if_the_same_keys_are_nearest(agent, codes):
    expert = ConstantActor(np.array([0.9, 0.3], np.float32))
    standin = make(expert, LUNAR_LANDER_CONTINUOUS, disagreement_steps=1)
    assert standin.choose(np.zeros(OB_SHAPE, np.float32), np.array(agent)) == codes
