import numpy as np
import pytest
from fakes import walk

from rl_il.errors import InputError
from rl_il.types import EXPERT, HUMAN, LEARNER, Trajectory


def trajectory(**changes):
    arrays = {"obs": np.arange(8.0).reshape(4, 2), "acs": np.array([0, 1, 2]), "rewards": np.array([1.0, 2.0, 4.0])}
    return Trajectory(**(arrays | changes))


def test_fields_that_are_left_out_have_their_defaults():
    t = trajectory()
    assert len(t) == 3 and t.episode_return == 7.0
    assert (t.terminated, t.truncated) == (False, False)
    assert t.labels.tolist() == [0, 1, 2]
    assert t.labelled_steps.tolist() == [True, True, True]
    assert t.source.tolist() == [EXPERT] * 3 and t.source.dtype == np.int8
    assert np.isnan(trajectory(rewards=np.full(3, np.nan)).episode_return)


def test_labels_masks_and_sources_are_kept_as_given():
    mask, own = np.array([True, False, True]), np.array([LEARNER, HUMAN, EXPERT], np.int8)
    obs, acs = np.zeros((4, 2, 2), np.uint8), np.array([0, 1, 2], np.int32)
    t = trajectory(obs=obs, acs=acs, expert_acs=np.array([2, 2, 2]), labelled=mask, source=own)
    assert t.labels.tolist() == [2, 2, 2] and t.acs.tolist() == [0, 1, 2]
    assert t.labelled_steps.tolist() == mask.tolist() and t.source.tolist() == own.tolist()
    assert (t.obs.dtype, t.acs.dtype) == (np.uint8, np.int32)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"obs": np.zeros((1, 2)), "acs": np.zeros(0), "rewards": np.zeros(0)}, ["at least one step"]),
        ({"obs": np.zeros((3, 2))}, ["3 actions", "4 observations", "got 3"]),
        ({"rewards": np.zeros(2)}, ["3 actions", "rewards", "got 2"]),
        ({"labelled": np.ones(2, bool)}, ["3 actions", "labelled", "got 2"]),
        ({"labelled": np.ones(3)}, ["labelled", "float64"]),
        ({"source": np.zeros((3, 2), np.int8)}, ["source", "(3, 2)"]),
        ({"expert_acs": np.zeros((3, 2))}, ["expert_acs", "(3,)", "(3, 2)"]),
        ({"rewards": np.array([0, np.inf, 0])}, ["rewards", "infinite"]),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused_with_both_numbers(changes, words):
    with pytest.raises(InputError) as error:
        trajectory(**changes)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
@pytest.mark.parametrize("name, rows", [("obs", 4), ("acs", 3), ("expert_acs", 3)])
def test_the_first_bad_row_is_named(name, rows, bad):
    arrays = {"acs": np.zeros((3, 2)), name: np.zeros((rows, 2))}
    arrays[name][1:, 1] = bad
    with pytest.raises(InputError, match=rf"{name} hold NaN or infinity \(first in row 1 of {rows}\)"):
        trajectory(**arrays)


# Parts --------------------------------------------------------------------------------------------------


def test_a_part_keeps_its_steps_and_the_observation_after_them():
    whole = walk(6, action=2, labelled=np.arange(6) % 2 == 0, source=np.full(6, 2, np.int8), expert_acs=np.arange(6))
    part = whole[1:4]
    np.testing.assert_array_equal(part.obs[:, 0], [1, 2, 3, 4])
    np.testing.assert_array_equal(part.labels, [1, 2, 3])
    np.testing.assert_array_equal(part.labelled, [False, True, False])
    np.testing.assert_array_equal(part.source, [2, 2, 2])
    assert part.episode_return == 6
    assert not part.terminated and whole[2:].terminated and whole[-1:].terminated


@pytest.mark.parametrize("steps", [slice(3, 3), slice(6, 9), slice(0, 4, 2)])
def test_a_part_must_have_successive_steps(steps):
    with pytest.raises(InputError, match="successive steps"):
        walk(6)[steps]
