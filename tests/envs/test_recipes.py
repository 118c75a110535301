"""Recipes, from which the same environment is made again."""

import pickle

import fakes
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import RescaleAction, TimeAwareObservation, TransformReward

from rl_il.envs import describe_recipe, make_env, make_recipe, other_versions, recipe_of
from rl_il.errors import InputError

OWN = """
import gymnasium as gym
from fakes import Corridor


class Longer(Corridor):
    pass


class Doubled(gym.RewardWrapper):
    def reward(self, reward):
        return 2 * reward


def thrice(env):
    return gym.wrappers.TransformReward(env, lambda reward: 3 * reward)


gym.register("Own-v0", Longer, max_episode_steps=7)
gym.register("room/Own-v0", Longer, max_episode_steps=8)
"""


def test_arguments_reach_the_constructor():
    env = make_env(make_recipe("LunarLander-v3", "gravity=-4.0 enable_wind=true"))
    assert (env.unwrapped.gravity, env.unwrapped.enable_wind) == (-4.0, True)


def test_an_environment_made_with_arguments_is_made_again_with_them():
    made = gym.make("LunarLander-v3", gravity=-1.0, render_mode="rgb_array")
    again = make_env(pickle.loads(pickle.dumps(recipe_of(made))))
    assert again.unwrapped.gravity == -1.0
    assert again.render_mode is None  # how it draws is not a part of the recipe


def test_wrappers_and_their_arguments_are_made_again():
    made = TimeAwareObservation(gym.make("CorridorContinuous-v0"))
    again = make_env(recipe_of(RescaleAction(made, np.float32(-3), np.float32(3))))
    assert again.observation_space.shape == (3,)
    np.testing.assert_array_equal(again.action_space.high, [3, 3])


@pytest.mark.parametrize(
    ("name", "limit"), [("mine:Own-v0", 7), ("mine:room/Own-v0", 8), ("mine:Longer", None), ("mine:thrice", None)]
)
def test_own_environments_keep_their_full_name(own_folder, name, limit):
    own_folder(mine=OWN + "\ndef thrice(**kwargs):\n    return Longer(**kwargs)\n")
    env = make_env(name)
    assert isinstance(env.unwrapped, fakes.Corridor)
    assert (env.spec.id, env.spec.max_episode_steps) == (name, limit)
    assert make_env(recipe_of(env)).spec.id == name


@pytest.mark.parametrize(
    ("wrappers", "factor"), [("mine:Doubled", 2), ("mine:thrice", 3), ("mine:Doubled mine:thrice", 6)]
)
def test_own_wrappers_are_applied_and_made_again(own_folder, wrappers, factor):
    own_folder(mine=OWN)
    env = make_env(make_recipe("Corridor-v0", None, wrappers))
    for each in (env, make_env(recipe_of(env))):
        each.reset(seed=0)
        assert each.step(2)[1] == 2 * factor


def test_a_wrapper_may_have_arguments():
    env = make_env(
        make_recipe("CorridorContinuous-v0", None, "gymnasium.wrappers:RescaleAction(min_action=-5,max_action=5)")
    )
    np.testing.assert_array_equal(env.action_space.low, [-5, -5])


@pytest.mark.parametrize(
    "arguments",
    [
        ("LunarLander-v3", None, None),
        ("LunarLander-v3", "gravity=-1.0 enable_wind=True", None),
        ("LunarLander-v3", None, "gymnasium.wrappers:TimeAwareObservation(flatten=True,normalize_time=False)"),
        ("Hopper-v5", "'frame_skip=2'", None),
    ],
)
def test_the_words_of_a_recipe_give_it_again(arguments):
    recipe = make_recipe(*arguments)
    described = describe_recipe(recipe)
    assert make_recipe(*described) == recipe
    assert described[0] == arguments[0] and (described[1] is None) == (arguments[1] is None)


def test_a_name_without_its_module_gets_it():
    assert describe_recipe(recipe_of(gym.make("Corridor-v0"))) == ("fakes:Corridor-v0", None, None)


@pytest.mark.parametrize(
    "make",
    [
        lambda: gym.make(EnvSpec("Mine-v0", entry_point="fakes:Corridor")),  # no other process knows the name
        lambda: TransformReward(gym.make("LunarLander-v3"), abs),
        lambda: gym.make("LunarLander-v3", max_episode_steps=3),
    ],
)
def test_an_environment_without_words_has_none(make):
    assert describe_recipe(recipe_of(make())) is None


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (fakes.Corridor, ["Corridor", "gymnasium.make", "fakes:Corridor"]),
        (lambda: NoRecord(gym.make("Corridor-v0")), ["Corridor-v0", "NoRecord", "RecordConstructorArgs"]),
    ],
)
def test_an_environment_that_cannot_be_made_again_has_no_recipe(make, words):
    with pytest.raises(InputError) as error:
        recipe_of(make())
    assert all(word in str(error.value) for word in words)


class NoRecord(gym.Wrapper):
    """A wrapper that does not record its arguments."""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("LunarLander-v2",), ["LunarLander-v2", "LunarLander-v3"]),
        (("Ant-v2",), ["Ant-v2", "gymnasium-robotics", "Ant-v5"]),
        (("Corridr-v0",), ["Corridor-v0", "module:NAME"]),
        (("nowhere:X-v0",), ["nowhere"]),
        (("fakes:Nothing-v0",), ["fakes", "Nothing-v0"]),
        (("LunarLander-v3", "gravty=-1"), ["gravty", "gravity"]),
        (("LunarLander-v3", "gravity=low"), ["gravity", "number", "'low'"]),
        (("LunarLander-v3", "gravity=true"), ["gravity", "number", "True"]),
        (("LunarLander-v3", "enable_wind=1"), ["enable_wind", "true or false", "1"]),
        (("LunarLander-v3", "gravity=-4 gravity=-5"), ["--env_kwargs", "gravity=-5"]),
        (("LunarLander-v3", "gravity"), ["--env_kwargs", "NAME=VALUE"]),
        (("LunarLander-v3", "'gravity=1"), ["--env_kwargs"]),
        (("LunarLander-v3", "render_mode=human"), ["render_mode"]),
        (("LunarLander-v3", None, "TimeLimit"), ["--wrappers", "TimeLimit", "module:Name"]),
        (("LunarLander-v3", None, "gymnasium.wrappers:TimeLimits"), ["TimeLimits", "TimeLimit"]),
        (("LunarLander-v3", None, "gymnasium.wrappers:TimeLimit(3)"), ["--wrappers", "TimeLimit(3)"]),
        (("LunarLander-v3", None, "gymnasium.wrappers:TimeLimit(n=3"), ["--wrappers"]),
    ],
)
def test_mistakes_are_refused_in_a_sentence(arguments, words):
    with pytest.raises(InputError) as error:
        make_recipe(*arguments)
    assert all(word in str(error.value) for word in words), error.value


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (("LunarLander-v3", "gravity=-40.0"), ["LunarLander-v3", "AssertionError", "-40.0"]),
        (("Hopper-v5", "speed=3"), ["Hopper-v5", "speed"]),
        (("Corridor-v0", None, "gymnasium.wrappers:TimeLimit"), ["Corridor-v0", "max_episode_steps"]),
        (("mine:Broken",), ["mine:Broken", "ZeroDivisionError", "mine.py, line 3"]),
        (("mine:OldGym",), ["mine:OldGym", "gymnasium.Env"]),
        (("mine:number_of",), ["mine:number_of", "gymnasium.Env"]),
    ],
)
def test_a_constructor_that_fails_is_refused_in_a_sentence(own_folder, recipe, words):
    own_folder(
        mine="class Broken:\n    def __init__(self):\n        1 / 0\n\nclass OldGym: pass\n\ndef number_of(): pass\n"
    )
    with pytest.raises(InputError) as error:
        make_env(make_recipe(*recipe))
    assert all(word in str(error.value) for word in words), error.value
    assert "\n" not in str(error.value)


def test_the_newest_version_comes_first():
    assert other_versions("Ant-v2")[0] == "Ant-v5"
