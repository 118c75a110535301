import dataclasses

import numpy as np
import pytest
from gymnasium.spaces import Box

from rl_il.envs import ENVS, key_map, make_env
from rl_il.envs.keys import CAR_RACING, LUNAR_LANDER_CONTINUOUS, MOUNTAIN_CAR, digit_keys
from rl_il.errors import InputError

WITH_KEYS = [name for name, spec in ENVS.items() if spec.keys]


@pytest.mark.parametrize("name", WITH_KEYS)
def test_every_key_of_a_row_is_an_action_of_its_environment(name, shared_env):
    keys, space = ENVS[name].keys, shared_env(name).action_space
    assert space.contains(keys.idle_action)
    for key in keys.keys:
        assert space.contains(keys.action([key.code])), key
    assert len({key.code for key in keys.keys}) == len(keys.keys)
    assert len(keys.names) == (space.n if keys.discrete else space.shape[0])
    np.testing.assert_array_equal(keys.action([keys.do_nothing]), keys.idle_action)


def test_the_key_that_does_nothing_is_a_choice_and_no_key_is_none():
    assert MOUNTAIN_CAR.action([]) is None
    assert MOUNTAIN_CAR.action(["KeyX"]) is None
    assert MOUNTAIN_CAR.action(["ArrowDown"]) == 1
    assert MOUNTAIN_CAR.action(["ArrowDown"]).dtype == np.int64


def test_the_key_pressed_last_decides():
    assert MOUNTAIN_CAR.action(["ArrowLeft", "ArrowRight"]) == 2
    assert MOUNTAIN_CAR.action(["ArrowRight", "ArrowLeft"]) == 0
    assert MOUNTAIN_CAR.action(["ArrowRight", "KeyX"]) == 2


def test_continuous_keys_set_their_axes_together():
    action = CAR_RACING.action(["ArrowUp", "ArrowLeft"])
    np.testing.assert_allclose(action, [-0.5, 0.2, 0])
    assert action.dtype == np.float32
    np.testing.assert_allclose(CAR_RACING.action(["ArrowLeft", "ArrowDown", "ArrowRight"]), [0.5, 0, 0.1])
    np.testing.assert_allclose(CAR_RACING.action(["ArrowUp", "Space"]), [0, 0, 0])
    np.testing.assert_allclose(CAR_RACING.action(["ArrowUp"]), [0, 0.2, 0])  # the other axes are 0 again


@pytest.mark.parametrize(
    "action, codes",
    [([0.9, -0.8], ("ArrowDown", "ArrowLeft")), ([-1, 0.6], ("ArrowRight",)), ([0.4, 0.4], ("ArrowUp",))],
)
def test_the_nearest_keys_of_a_continuous_action(action, codes):
    assert LUNAR_LANDER_CONTINUOUS.nearest(np.array(action)) == codes


def test_the_nearest_key_of_an_integer_is_its_own():
    nearest = [MOUNTAIN_CAR.nearest(np.int64(action)) for action in range(3)]
    assert nearest == [("ArrowLeft",), ("ArrowDown",), ("ArrowRight",)]


def test_without_a_key_that_does_nothing_some_key_is_nearest():
    keys = dataclasses.replace(LUNAR_LANDER_CONTINUOUS, do_nothing=None)
    assert keys.nearest(np.array([0.1, 0.2])) == ("ArrowRight",)


def test_the_values_of_keys_can_be_changed():
    keys = CAR_RACING.adjusted("ArrowUp=0.4,ArrowLeft=-0.3")
    np.testing.assert_allclose(keys.action(["ArrowUp", "ArrowLeft"]), [-0.3, 0.4, 0], rtol=1e-6)
    np.testing.assert_allclose(keys.action(["ArrowRight"]), [0.5, 0, 0])


@pytest.mark.parametrize("text", ["ArrowUp", "ArrowUp=fast", "ArrowUp=nan", "Space=1", "KeyX=1", "", "ArrowUp=1;2"])
def test_invalid_key_values_are_refused(text):
    with pytest.raises(InputError, match="--key_values"):
        CAR_RACING.adjusted(text)
    with pytest.raises(InputError):  # keys of integer actions have no value
        MOUNTAIN_CAR.adjusted("ArrowLeft=1")


def test_without_a_row_integer_actions_get_digits(shared_env):
    keys = key_map(shared_env("CartPole-v1"))
    assert [(key.code, keys.action([key.code])) for key in keys.keys] == [("Digit0", 0), ("Digit1", 1)]
    assert keys.do_nothing is None
    assert key_map(shared_env("BipedalWalker-v3")) is None


def test_letters_follow_the_digits_without_the_pause_key():
    keys = digit_keys(40)
    assert len(keys.keys) == 35 and len(keys.names) == 40
    assert keys.action(["KeyQ"]) == 10
    assert "KeyP" not in {key.code for key in keys.keys}


def test_continuous_actions_without_a_row_have_two_keys_for_each_axis(register_env):
    low, high = np.array([-2, 1, -np.inf], np.float32), np.array([3, 4, np.inf], np.float32)
    keys = key_map(make_env(register_env(Box(-1, 1, (2,)), Box(low, high))))
    np.testing.assert_array_equal(keys.idle_action, [0, 1, 0])
    np.testing.assert_array_equal(keys.action(["ArrowLeft"]), [-2, 1, 0])
    np.testing.assert_array_equal(keys.action(["ArrowLeft", "ArrowUp", "KeyD", "ArrowRight"]), [3, 4, 1])
    np.testing.assert_array_equal(keys.action(["KeyA", keys.do_nothing]), [0, 1, 0])
    assert keys.nearest(np.array([2.9, 1.1, -0.9])) == ("ArrowRight", "KeyA")


@pytest.mark.parametrize("space", [Box(-1, 1, (4,)), Box(-1, 1, (2, 1)), Box(-1, 1, ())])
def test_other_continuous_actions_have_none(register_env, space):
    assert key_map(make_env(register_env(Box(-1, 1, (2,)), space))) is None
