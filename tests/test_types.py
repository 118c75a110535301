import numpy as np
import pytest
from fakes import walk

from rl_il.errors import InputError
from rl_il.types import EXPERT, HUMAN, LEARNER, Trajectory


def trajectory(**changes):
    arrays = {"obs": np.arange(8.0).reshape(4, 2), "acs": np.array([0, 1, 2]), "rewards": np.array([1.0, 2.0, 4.0])}
    return Trajectory(**(arrays | changes))


def test_length_is_the_number_of_actions():
    assert len(trajectory()) == 3


def test_return_is_the_sum_of_rewards():
    assert trajectory().episode_return == 7.0


def test_return_is_unknown_where_rewards_are():
    assert np.isnan(trajectory(rewards=np.full(3, np.nan)).episode_return)


def test_without_expert_actions_the_executed_ones_are_the_labels():
    assert trajectory().labels.tolist() == [0, 1, 2]


def test_expert_actions_are_the_labels_and_the_executed_ones_stay():
    t = trajectory(expert_acs=np.array([2, 2, 2]))
    assert t.labels.tolist() == [2, 2, 2]
    assert t.acs.tolist() == [0, 1, 2]


def test_every_step_is_labelled_unless_a_mask_says_otherwise():
    assert trajectory().labelled_steps.tolist() == [True, True, True]
    mask = np.array([True, False, True])
    assert trajectory(labelled=mask).labelled_steps.tolist() == [True, False, True]


def test_steps_come_from_the_expert_unless_told():
    source = trajectory().source
    assert source.tolist() == [EXPERT] * 3
    assert source.dtype == np.int8
    own = np.array([LEARNER, HUMAN, EXPERT], np.int8)
    assert trajectory(source=own).source.tolist() == [LEARNER, HUMAN, EXPERT]


def test_ends_are_two_booleans_that_default_to_neither():
    t = trajectory()
    assert (t.terminated, t.truncated) == (False, False)


def test_a_trajectory_is_frozen():
    with pytest.raises(AttributeError):
        trajectory().terminated = True


def test_arrays_keep_their_dtype():
    t = trajectory(obs=np.zeros((4, 2, 2), np.uint8), acs=np.array([0, 1, 2], np.int32))
    assert t.obs.dtype == np.uint8
    assert t.acs.dtype == np.int32


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"obs": np.zeros((1, 2)), "acs": np.zeros(0), "rewards": np.zeros(0)}, ["at least one step"]),
        ({"obs": np.zeros((3, 2))}, ["3 actions", "4 observations", "got 3"]),
        ({"obs": np.zeros((5, 2))}, ["3 actions", "4 observations", "got 5"]),
        ({"rewards": np.zeros(2)}, ["3 actions", "rewards", "got 2"]),
        ({"expert_acs": np.zeros(4)}, ["3 actions", "expert_acs", "got 4"]),
        ({"labelled": np.ones(2, bool)}, ["3 actions", "labelled", "got 2"]),
        ({"source": np.zeros(7, np.int8)}, ["3 actions", "source", "got 7"]),
        ({"expert_acs": np.zeros((3, 2))}, ["expert_acs", "(3,)", "(3, 2)"]),
        ({"rewards": np.array([0, np.inf, 0])}, ["rewards", "infinite"]),
    ],
)
def test_what_does_not_fit_is_refused_with_both_numbers(changes, words):
    with pytest.raises(InputError) as error:
        trajectory(**changes)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name, rows", [("obs", 4), ("acs", 3), ("expert_acs", 3)])
def test_the_first_bad_row_is_named(name, rows, bad):
    arrays = {"acs": np.zeros((3, 2)), name: np.zeros((rows, 2))}
    arrays[name][1:, 1] = bad
    with pytest.raises(InputError, match=rf"{name} hold NaN or infinity \(first in row 1 of {rows}\)"):
        trajectory(**arrays)


# Pieces -------------------------------------------------------------------------------------------------


def test_a_piece_keeps_its_steps_and_the_observation_after_them():
    whole = walk(6, action=2, labelled=np.arange(6) % 2 == 0, source=np.full(6, 2, np.int8), expert_acs=np.arange(6))
    piece = whole[1:4]
    np.testing.assert_array_equal(piece.obs[:, 0], [1, 2, 3, 4])
    np.testing.assert_array_equal(piece.labels, [1, 2, 3])
    np.testing.assert_array_equal(piece.labelled, [False, True, False])
    np.testing.assert_array_equal(piece.source, [2, 2, 2])
    assert piece.episode_return == 6
    assert not piece.terminated and whole[2:].terminated and whole[-1:].terminated


@pytest.mark.parametrize("steps", [slice(3, 3), slice(6, 9), slice(0, 4, 2)])
def test_a_piece_has_successive_steps(steps):
    with pytest.raises(InputError, match="successive steps"):
        walk(6)[steps]
