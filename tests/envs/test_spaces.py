"""Layouts of pictures, forms of actions, and actions of files."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from rl_il.envs import action_dtype, action_form, check_actions, is_discrete, is_picture, newest_picture
from rl_il.envs.keys import digit_keys
from rl_il.envs.spaces import picture_layout
from rl_il.errors import InputError
from rl_il.types import ActionForm


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((96, 96, 3), "hwc"),
        ((36, 40, 1), "hwc"),
        ((84, 84), "hw"),
        ((3, 84, 84), "chw"),
        ((1, 84, 84), "chw"),
        ((4, 84, 84), "khw"),
        ((2, 36, 36), "khw"),
        ((4, 96, 96, 3), "khwc"),
        ((7, 7, 3), None),
        ((3, 7, 7), None),
        ((35, 96, 3), None),
        ((40, 40, 2), None),
        ((64, 64, 64), None),
        ((17, 96, 96, 3), None),
        ((84,), None),
        ((), None),
    ],
)
def test_the_layout_of_pictures(shape, layout):
    assert picture_layout(shape) == layout
    assert is_picture(Box(0, 255, shape, np.uint8)) is (layout is not None)
    assert not is_picture(Box(0, 255, shape, np.float32))
    assert not is_picture(Box(0, 9, shape, np.uint8))


def test_the_newest_picture_of_each_layout():
    rng = np.random.default_rng(0)
    picture, older = rng.integers(256, size=(2, 36, 40, 3), dtype=np.uint8)
    grey = picture[..., :1]
    assert np.array_equal(newest_picture(picture), picture)
    assert np.array_equal(newest_picture(picture.transpose(2, 0, 1)), picture)
    assert np.array_equal(newest_picture(grey[..., 0]), grey)
    assert np.array_equal(newest_picture(np.stack([older[..., 0], picture[..., 0]])), grey)
    assert np.array_equal(newest_picture(np.stack([older, picture])), picture)


FORMS = [
    (Discrete(4), ActionForm((4,), ()), {"ac_dim": 4, "discrete": True}, np.int64),
    (Discrete(4, start=1), ActionForm((4,), (), (1,)), {"ac_dim": 4, "discrete": True, "ac_start": (1,)}, np.int64),
    (MultiDiscrete([2, 3]), ActionForm((2, 3), (2,)), {"ac_dim": (2, 3), "discrete": True}, np.int64),
    (MultiDiscrete([4]), ActionForm((4,), (1,)), {"ac_dim": (4,), "discrete": True}, np.int64),
    (
        MultiDiscrete([[2, 3], [4, 5]], start=[[0, 1], [-2, 3]]),
        ActionForm((2, 3, 4, 5), (2, 2), (0, 1, -2, 3)),
        {"ac_dim": (2, 3, 4, 5), "discrete": True, "ac_start": (0, 1, -2, 3), "ac_shape": (2, 2)},
        np.int64,
    ),
    (MultiBinary(2), ActionForm((2, 2), (2,)), {"ac_dim": (2, 2), "discrete": True}, np.int8),
    (Box(-1, 1, (3,)), ActionForm((), (3,)), {"ac_dim": 3, "discrete": False}, np.float32),
    (
        Box(-1, 1, (2, 3), np.float64),
        ActionForm((), (2, 3)),
        {"ac_dim": 6, "discrete": False, "ac_shape": (2, 3)},
        np.float64,
    ),
    (Box(-1, 1, (), np.float16), ActionForm((), ()), {"ac_dim": 1, "discrete": False, "ac_shape": ()}, np.float32),
]


@pytest.mark.parametrize(("space", "form", "settings", "dtype"), FORMS, ids=lambda value: str(value)[:40])
def test_the_form_of_actions_and_its_labels(space, form, settings, dtype):
    assert action_form(space) == form == ActionForm.from_settings(**settings)
    assert form.settings() == settings and form.discrete == is_discrete(space)
    assert form.usual is (space in (Discrete(4), Box(-1, 1, (3,))))
    assert action_dtype(space) == dtype
    space.seed(0)
    acs = np.stack([space.sample() for _ in range(50)])
    labels = form.to_labels(acs)
    assert labels.shape == (50, *(() if isinstance(space, Discrete) else (int(np.prod(space.shape)),)))
    if form.discrete:
        assert labels.dtype == np.int64 and labels.min() == 0
        np.testing.assert_array_equal(labels.max(axis=0), np.array(form.choices).reshape(labels.shape[1:]) - 1)
    assert form.to_labels(acs[:0]).shape == (0, *labels.shape[1:])
    np.testing.assert_array_equal(form.to_actions(labels), acs)
    np.testing.assert_array_equal(form.to_actions(labels[0]), acs[0])
    np.testing.assert_array_equal(check_actions(acs, "Any-v0", space), acs)
    assert check_actions(acs, "Any-v0", space).dtype == dtype


@pytest.mark.parametrize(
    ("space", "acs"),
    [
        (Discrete(3, start=1), [0, 1]),
        (Discrete(3, start=1), [3, 4]),
        (MultiDiscrete([2, 3]), [[0, 3]]),
        (MultiDiscrete([2, 3]), [[[0], [1]]]),
        (Box(-1, 1, (2, 3)), [[1.0] * 6]),
    ],
)
def test_what_are_no_actions_gives_no_labels(space, acs):
    with pytest.raises(InputError):
        action_form(space).to_labels(np.array(acs))


@pytest.mark.parametrize(
    ("space", "acs", "words"),
    [
        (Discrete(3, start=1), [0, 1, 2], ["[1, 4)", "start at 0"]),
        (Discrete(3, start=1), [[0, 1, 0], [1, 0, 0]], ["[1, 4)", "start at 0"]),
        (Discrete(3, start=1), [1, 2, 4], ["[1, 4)", "[1, 4]"]),
        (MultiDiscrete([2, 3], start=[1, 1]), [[0, 2], [1, 0]], ["[[1 1], [3 4])", "start at 0"]),
        (MultiDiscrete([2, 3]), [[1, 3]], ["[[0 0], [2 3])", "(1, 2)"]),
        (MultiDiscrete([2, 3]), [0.5, 1], ["(N, 2)", "(2,)"]),
        (MultiBinary(2), [[0, 2]], ["[[0 0], [2 2])"]),
        (MultiBinary(2), [[0, 0.5]], ["[[0 0], [2 2])"]),
        (Box(-1, 1, (2, 3)), [[1.0] * 6], ["(N, 2, 3)", "(1, 6)"]),
    ],
)
def test_actions_of_a_file_that_do_not_fit_are_refused(space, acs, words):
    with pytest.raises(InputError, match="Any-v0") as error:
        check_actions(np.array(acs), "Any-v0", space)
    assert all(word in str(error.value) for word in words), error.value


def test_whole_floats_and_columns_are_integers_of_any_start():
    acs = check_actions(np.array([[1.0], [3.0]]), "Any-v0", Discrete(3, start=1))
    assert acs.tolist() == [1, 3] and acs.dtype == np.int64


def test_a_digit_is_the_key_of_its_action():
    keys = digit_keys(3, start=2)
    assert [keys.action([code]) for code in ("Digit1", "Digit2", "Digit4", "Digit5")] == [None, 2, 4, None]
    assert keys.idle_action == 2 and keys.names == ("action 2", "action 3", "action 4")
    assert [key.value for key in digit_keys(3, start=-1).keys] == [0, 1]


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (Discrete(3, start=1), "3 discrete actions from 1"),
        (MultiDiscrete([2, 3]), "2 integers of 2, 3 choices"),
        (Box(-1, 1, (2, 3)), "6 continuous action dimensions of shape (2, 3)"),
    ],
)
def test_a_form_in_words(space, words):
    assert str(action_form(space)) == words
