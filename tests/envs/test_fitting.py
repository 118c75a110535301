"""Environments get observations that are arrays, or are refused with a way out."""

import multiprocessing

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Graph, MultiBinary, MultiDiscrete, OneOf, Sequence, Text, Tuple

from rl_il.envs import fit_spaces, fitting, flat_rows, largest_numbers, make_env
from rl_il.errors import InputError

POINT = Box(-1, 1, (2,), np.float32)
BYTES = Box(0, 255, (2, 2), np.uint8)


class Mission(gym.Space):
    """A space of another package, as MiniGrid's: it does not say whether it can be flattened."""

    def __init__(self):
        super().__init__(dtype=str)

    def sample(self, mask=None, probability=None):
        return "go"


class NoEnv(gym.Env):
    def __init__(self, observation_space, action_space=POINT):
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed=None, options=None):
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


@pytest.mark.parametrize(
    "space", [POINT, BYTES, Box(0, 1, (3, 2, 2)), Box(-np.inf, np.inf, (2,), np.float16), Box(-4, 9, (3,), np.int32)]
)
def test_arrays_stay_as_they_are(space, capsys):
    env = NoEnv(space)
    assert fit_spaces(env) is env
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("space", "ob", "flat"),
    [
        (Discrete(4), 2, [0, 0, 1, 0]),
        (Discrete(3, start=-1), -1, [1, 0, 0]),
        (MultiBinary(3), np.array([1, 0, 1], np.int8), [1, 0, 1]),
        (MultiDiscrete([2, 3]), np.array([1, 0]), [0, 1, 1, 0, 0]),
        (Tuple([Discrete(2), POINT]), (1, np.array([0.5, -0.5], np.float32)), [0, 1, 0.5, -0.5]),
        (Dict(a=BYTES, b=Discrete(2)), {"a": np.array([[9, 8], [7, 6]], np.uint8), "b": 0}, [9, 8, 7, 6, 1, 0]),
        (Box(-1, 1, (), np.float32), np.float32(0.25), [0.25]),
    ],
)
def test_other_observations_are_flattened(space, ob, flat, monkeypatch):
    env = NoEnv(space)
    fitted = fit_spaces(env)
    assert isinstance(fitted, gym.wrappers.FlattenObservation) and fitted.unwrapped is env
    monkeypatch.setattr(space, "sample", lambda: ob)
    for observed in (fitted.reset(seed=0)[0], fitted.step(None)[0]):
        np.testing.assert_array_equal(observed, flat)
        assert observed.shape == fitted.observation_space.shape and observed.dtype == fitted.observation_space.dtype
    assert fit_spaces(fitted) is fitted


def test_flattening_is_said_once_and_not_in_workers(register_env, capsys, monkeypatch):
    fitting._say.cache_clear()
    name = register_env(Discrete(7), POINT)
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: object())
    make_env(name)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: None)
    for _ in range(2):
        make_env(name)
    err = capsys.readouterr().err
    assert err.startswith("note: ") and err.count("\n") == 1
    assert all(word in err for word in (name, "Discrete(7)", "FlattenObservation"))


@pytest.mark.parametrize(
    ("space", "part", "kind"),
    [
        (Sequence(Discrete(2)), "", "Sequence"),
        (Graph(POINT, None), "", "Graph"),
        (Text(5), "", "Text"),
        (Dict(image=BYTES, mission=Mission()), "mission", "Mission"),
        (Dict(a=Dict(b=Tuple([Discrete(2), Text(3)]))), "a.b.1", "Text"),
    ],
)
def test_what_cannot_be_flattened_is_refused_with_the_wrapper_that_helps(register_env, space, part, kind):
    name = register_env(space, POINT)
    with pytest.raises(InputError) as error:
        make_env(name)
    message = str(error.value)
    for word in (
        name,
        f"whose part {part} is" if part else kind,
        kind,
        "FilterObservation",
        "TransformObservation",
        "--wrappers",
    ):
        assert word in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "space",
    [Box(0, 9, (2,), np.int64), Dict(a=Discrete(2)), Tuple([Discrete(2), POINT]), OneOf([Discrete(2), POINT])],
)
def test_other_actions_are_refused_with_the_wrapper_that_helps(register_env, space):
    name = register_env(POINT, space)
    with pytest.raises(InputError) as error:
        make_env(name)
    for word in (name, " ".join(str(space).split()), "TransformAction", "--wrappers"):
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_spaces_of_another_library_are_refused():
    with pytest.raises(InputError, match=r"NoEnv.*observation_space.*gymnasium\.spaces.*str"):
        fit_spaces(NoEnv("Box(2)"))


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (POINT, [1, 1]),
        (Box(-9, 9, (2,), np.float64), [1, 1]),
        (BYTES, [255] * 4),
        (Box(0, np.array([0, 3], np.uint8), dtype=np.uint8), [1, 3]),
        (Box(-8, 4, (2,), np.int16), [8, 8]),
        (Box(-np.inf, np.inf, (2,), np.int64), [1, 1]),
        (Box(0, np.iinfo(np.int32).max, (1,), np.int32), [1]),
        (Dict(image=BYTES, direction=Discrete(2)), [255] * 4 + [1] * 2),
        (Tuple([POINT, BYTES, MultiDiscrete([2, 3]), MultiBinary(2)]), [1, 1] + [255] * 4 + [1] * 7),
    ],
)
def test_integers_are_divided_by_their_bounds(space, expected):
    assert largest_numbers(fit_spaces(NoEnv(space))).tolist() == expected
    longer = gym.wrappers.TimeLimit(fit_spaces(NoEnv(space)), 5)
    assert largest_numbers(longer).tolist() == expected


@pytest.mark.parametrize("obs", [[0, 3, 2], [[0], [3], [2]], [0.0, 3.0, 2.0]])
def test_integers_of_a_file_are_flattened_as_the_environments(obs):
    env = fit_spaces(NoEnv(Discrete(4)))
    flat = flat_rows(np.array(obs), env)
    np.testing.assert_array_equal(flat, np.eye(4)[[0, 3, 2]])
    assert flat_rows(flat, env) is flat
    plain = np.array([[1.0, 2.0]])
    assert flat_rows(plain, NoEnv(POINT)) is plain


@pytest.mark.parametrize("obs", [[0, 4], [-1, 0], [0.5, 1]])
def test_integers_of_another_space_are_refused(obs):
    with pytest.raises(InputError, match=r"Discrete\(4\)"):
        flat_rows(np.array(obs), fit_spaces(NoEnv(Discrete(4))))
