import numpy as np
import pytest
from fakes import OB_SHAPE, ConstantActor, StepModuloThree

from rl_il.keys import LUNAR_LANDER_CONTINUOUS, MOUNTAIN_CAR
from rl_il.teacher.standin import StandIn

RIGHT, LEFT, NOTHING = ("ArrowRight",), ("ArrowLeft",), ("ArrowDown",)


def presses(standin, agent_actions, obs=None):
    """What it presses at each of the steps."""
    obs = obs or [[0, 0]] * len(agent_actions)
    return [standin.choose(np.array(ob, np.float32), np.int64(a)) for ob, a in zip(obs, agent_actions, strict=True)]


def make(expert=None, **settings):
    settings = {"disagreement_steps": 3, "takeover_steps": 2} | settings
    return StandIn(expert or ConstantActor(np.int64(2)), MOUNTAIN_CAR, **settings)


def test_it_takes_over_after_so_many_disagreements_in_a_row():
    assert presses(make(), [0, 0, 2, 0, 0, 0]) == [(), (), (), (), (), RIGHT]


def test_it_acts_for_a_while_and_lets_go_once_they_agree():
    assert presses(make(), [0, 0, 0, 2, 2, 2]) == [(), (), RIGHT, RIGHT, (), ()]
    assert presses(make(), [0, 0, 0, 0, 0, 0, 2]) == [(), (), RIGHT, RIGHT, RIGHT, RIGHT, ()]


def test_it_presses_what_the_expert_does_at_each_step():
    standin = make(StepModuloThree(), disagreement_steps=1)
    obs = [[step, 9] for step in range(4)]
    assert presses(standin, [1, 0, 0, 1], obs) == [LEFT, NOTHING, RIGHT, LEFT]


def test_a_new_episode_starts_with_clean_hands():
    standin = make()
    presses(standin, [0, 0])
    standin.begin_episode(None, 1, 5)
    assert presses(standin, [0, 0, 0]) == [(), (), RIGHT]


def test_the_expert_is_reset_and_one_that_reads_the_simulator_is_shown_it():
    class Driver(ConstantActor):
        def watch(self, env):
            self.watched = env

    expert, env = Driver(np.int64(2)), object()
    make(expert).begin_episode(env, 0, 17)
    assert (expert.watched, expert.seeds) == (env, [17])


def test_noise_presses_wrong_keys_and_the_same_ones_for_a_seed():
    def held(seed):
        standin = make(noise=0.3, disagreement_steps=1, takeover_steps=10**6, seed=seed)
        return presses(standin, [0] * 500)

    first = held(4)
    wrong = [codes for codes in first if codes != RIGHT]
    assert 0.2 < len(wrong) / 500 < 0.4
    assert {*wrong} == {LEFT, NOTHING}
    assert first == held(4) != held(5)


def test_without_noise_no_key_is_wrong():
    assert {*presses(make(disagreement_steps=1), [0] * 50)} == {RIGHT}


@pytest.mark.parametrize("agent, codes", [([0.7, 0.1], ()), ([-0.3, -0.2], ("ArrowDown",))])
def test_continuous_actions_agree_where_the_same_keys_are_nearest(agent, codes):
    expert = ConstantActor(np.array([0.9, 0.3], np.float32))
    standin = StandIn(expert, LUNAR_LANDER_CONTINUOUS, disagreement_steps=1)
    assert standin.choose(np.zeros(OB_SHAPE, np.float32), np.array(agent)) == codes
