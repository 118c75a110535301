"""Experts that the user wrote."""

import gymnasium as gym
import numpy as np
import pytest
from fakes import Corridor

from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.experts.loading import load_actor
from rl_il.experts.own import own_actor
from rl_il.infrastructure.rollouts import sample_trajectory
from rl_il.policies.actors import RandomActor

OBS = np.array([[0, 3], [1, 3], [2, 3]], np.float32)


def count(ob):
    return int(ob[0])


class Pilot:
    def get_action(self, ob):
        return int(ob[0])


class Caller:
    def __call__(self, ob):
        return ob[0]  # a whole number as a float


class Remembering:
    """The n-th action of an episode is n modulo 3, whatever the observation is."""

    def reset(self, seed):
        self.seed, self.n = seed, -1

    def get_action(self, ob):
        self.n += 1
        return self.n % 3


class Watching:
    def watch(self, env):
        self.env = env.unwrapped

    def __call__(self, ob):
        return self.env.steps % 3


@pytest.mark.parametrize("expert", [count, Pilot, Pilot(), Caller])
def test_one_observation_or_several_are_answered(expert):
    actor = own_actor(expert, make_env("Corridor-v0"))
    np.testing.assert_array_equal(actor.get_action(OBS), [0, 1, 2])
    assert actor.get_action(OBS[1]) == 1
    assert actor.get_action(OBS).dtype == np.int64
    assert actor.answers_recorded


def test_continuous_actions_are_not_clipped():
    actor = own_actor(lambda ob: [5, -ob[1]], make_env("CorridorContinuous-v0"))
    np.testing.assert_array_equal(actor.get_action(OBS), [[5, -3]] * 3)
    assert actor.get_action(OBS).dtype == np.float32


def test_an_actor_is_used_as_it_is():
    actor = RandomActor(make_env("Corridor-v0"))
    assert own_actor(actor, make_env("Corridor-v0")) is actor


@pytest.mark.parametrize("expert", [Remembering, Watching])
def test_an_expert_that_remembers_or_reads_the_simulator_is_asked_in_the_episode(expert):
    env = make_env("Corridor-v0")
    actor = own_actor(expert, env)
    assert not actor.answers_recorded
    for seed in (3, 2):  # the second episode starts again at 0
        np.testing.assert_array_equal(sample_trajectory(env, actor, seed).acs, np.arange(3 + seed % 4) % 3)


def test_an_expert_gets_the_observation_as_it_was_before_it_was_flattened():
    env = make_env("FrozenLake-v1")
    actor = own_actor(lambda state: state % 4, env)
    one_hot = np.eye(16, dtype=np.int64)
    np.testing.assert_array_equal(actor.get_action(one_hot), np.arange(16) % 4)
    assert actor.get_action(one_hot[7]) == 3


def test_the_seed_reaches_reset():
    expert = Remembering()
    sample_trajectory(make_env("Corridor-v0"), own_actor(expert, make_env("Corridor-v0")), seed=42)
    assert expert.seed == 42


@pytest.mark.parametrize(
    ("expert", "env_name", "words"),
    [
        (lambda ob: 3, "Corridor-v0", ["Corridor-v0", "3", "Discrete(3)"]),
        (lambda ob: 0.5, "Corridor-v0", ["0.5", "Discrete(3)"]),
        (lambda ob: [1, 2], "Corridor-v0", ["[1, 2]"]),
        (lambda ob: None, "Corridor-v0", ["None"]),
        (lambda ob: "left", "Corridor-v0", ["left"]),
        (lambda ob: 1.0, "CorridorContinuous-v0", ["1.0", "Box"]),
        (lambda ob: [[1], [2, 3]], "CorridorContinuous-v0", ["ValueError"]),
        (lambda ob: 1 // 0, "Corridor-v0", ["ZeroDivisionError"]),
    ],
)
def test_an_answer_that_is_no_action_is_refused(expert, env_name, words):
    with pytest.raises(InputError) as error:
        own_actor(expert, make_env(env_name)).get_action(OBS)
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize(
    ("expert", "word"), [(Corridor, "get_action"), (gym.spaces.Discrete, "arguments"), (3, "int")]
)
def test_what_is_no_expert_is_refused(expert, word):
    with pytest.raises(InputError, match=word):
        own_actor(expert, make_env("Corridor-v0"))


def test_an_own_name_is_accepted_wherever_a_policy_is(own_folder):
    own_folder(mine="def pilot(ob):\n    return 2\n")
    env = make_env("Corridor-v0")
    assert load_actor("mine:pilot", env).get_action(OBS[0]) == 2
    with pytest.raises(InputError, match=r"mine:pilot.*--expert_activation"):
        load_actor("mine:pilot", env, activation="relu")
    with pytest.raises(InputError, match="pilots"):
        load_actor("mine:pilots", env)
