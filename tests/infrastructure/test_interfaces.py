"""Environments whose interface is not Gymnasium's are refused in one sentence that names them."""

import gymnasium as gym
import numpy as np
import pytest
from fakes import ConstantActor, Corridor

from rl_il.envs import prepare_env
from rl_il.errors import InputError
from rl_il.infrastructure.rollouts import sample_trajectory


class WithoutSeed(Corridor):
    def reset(self):
        return super().reset(seed=0)


class OnlyObservation(Corridor):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0]


class FourValues(Corridor):
    """The interface of the package gym before version 0.26."""

    def step(self, action):
        ob, reward, terminated, _, info = super().step(action)
        return ob, reward, terminated, info


class OtherShape(Corridor):
    def _observe(self):
        return np.zeros(3, np.float32)


class ScalarObservation(Corridor):
    def _observe(self):
        return 0.5


class NoObservation(Corridor):
    def _observe(self):
        return None


@pytest.mark.parametrize(
    ("env", "words"),
    [
        (WithoutSeed, ["reset", "TypeError", "Gymnasium", "seed"]),
        (OnlyObservation, ["reset", "Gymnasium", "(observation, info)"]),
        (FourValues, ["step 1", "seed 5", "terminated, truncated"]),
        (OtherShape, ["(3,)", "(2,)"]),
        (ScalarObservation, ["()", "(2,)"]),
        (NoObservation, ["reset", "(2,)"]),
    ],
)
def test_another_interface_is_refused(env, words):
    with pytest.raises(InputError) as error:
        sample_trajectory(prepare_env(env()), ConstantActor(1), seed=5, max_path_length=9)
    assert all(word in str(error.value) for word in [env.__name__, *words]), error.value
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("attribute", ["observation_space", "action_space"])
def test_a_space_that_is_none_is_refused(attribute):
    env = Corridor()
    setattr(env, attribute, 2)
    with pytest.raises(InputError, match=rf"Corridor.*{attribute}.*int"):
        prepare_env(env)


def test_a_scalar_observation_in_a_scalar_space_is_a_vector():
    class Scalar(Corridor):
        def __init__(self):
            super().__init__()
            self.observation_space = gym.spaces.Box(0, np.inf, (), np.float32)

        def _observe(self):
            return np.float32(self.steps)

    trajectory = sample_trajectory(prepare_env(Scalar()), ConstantActor(1, (1,)), seed=0, max_path_length=9)
    np.testing.assert_array_equal(trajectory.obs, [[0], [1], [2], [3]])
