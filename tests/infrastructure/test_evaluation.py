import itertools
import math

import numpy as np
import pytest
from fake_policy import CountingPolicy
from fakes import ConstantActor, StepModuloThree, corridor_length, walk

from rl_il.config import RunConfig
from rl_il.envs import ENVS, EnvRow, make_env
from rl_il.infrastructure import validation
from rl_il.infrastructure.evaluation import Evaluation, Evaluator, agreement, return_scalars
from rl_il.infrastructure.progress import Watch
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.infrastructure.validation import hold_out, validate
from rl_il.policies.actors import ScriptedActor
from rl_il.seeding import episode_seeds, stream
from rl_il.statistics import bootstrap_interval
from rl_il.types import Trajectory


def build(expert=None, held=(), **settings) -> Evaluator:
    config = RunConfig(env_name="Corridor-v0", **settings)
    buffer = ReplayBuffer()
    buffer.add(list(held))
    return Evaluator(config, make_env("Corridor-v0"), 6, expert, buffer, Watch())


def seeds_of(policy) -> list[list[int]]:
    """Return the episode seeds of each evaluation, which has its own frozen actor."""
    return [actor.seeds for actor in policy.actors]


def test_an_evaluation_by_hand():
    policy = CountingPolicy(action=2)
    found = build()(policy, itr=3)
    lengths = np.array([corridor_length(seed) for seed in seeds_of(policy)[0]])
    np.testing.assert_array_equal(found.lengths, lengths)
    np.testing.assert_array_equal(found.returns, 2 * lengths)
    assert found.itr == 3
    assert found.scalars == return_scalars("Eval", 2 * lengths, lengths)
    assert found.interval == bootstrap_interval([2.0 * lengths])


def test_the_courses_scalars_by_hand():
    scalars = return_scalars("Eval", np.array([1.0, 3.0, 5.0, 7.0]), np.array([10, 20, 30, 41]))
    assert scalars == {
        "Eval_AverageReturn": 4.0,
        "Eval_StdReturn": math.sqrt(5),  # divided by n; with n - 1 it would be 2.58
        "Eval_MaxReturn": 7.0,
        "Eval_MinReturn": 1.0,
        "Eval_AverageEpLen": 25.25,
    }


@pytest.mark.parametrize(("episodes", "known"), [(1, False), (4, False), (5, True)])
def test_a_few_episodes_have_no_interval(episodes, known):
    interval = Evaluation(0, scores=np.arange(float(episodes))).interval
    assert np.isfinite(interval).tolist() == [known, known]


def test_all_evaluations_of_a_run_have_the_same_seeds():
    policy = CountingPolicy()
    for evaluator in (build(), build(), build(seed=2)):
        for itr in (0, 0, 1):
            evaluator(policy, itr)
    seeds = seeds_of(policy)
    assert all(each == seeds[0] for each in seeds[:6]) and all(each == seeds[6] for each in seeds[6:])
    assert len({*seeds[0], *seeds[6]}) == 2 * 6


def test_the_expert_and_each_iteration_start_from_the_same_seeds():
    evaluator = build()
    started = evaluator.env.unwrapped.seeds
    for itr in (0, 3):
        evaluator(CountingPolicy(), itr)
    evaluator.measure(ConstantActor(2))
    first, later, expert = started[:6], started[6:12], started[12:]
    assert first == later == expert
    assert expert == list(itertools.islice(episode_seeds(stream(evaluator.config.seed, "evaluation")), 6))


def test_the_episode_length_limits_an_evaluation():
    assert build(ep_len=2)(CountingPolicy(), 0).lengths.tolist() == [2] * 6


@pytest.mark.parametrize("expert", [None, StepModuloThree()])
def test_success_is_counted_if_the_environment_defines_it(monkeypatch, expert):
    monkeypatch.setitem(ENVS, "Corridor-v0", EnvRow(success=lambda trajectory: len(trajectory) > 4))
    found = build(expert)(CountingPolicy(), 0)
    assert found.scalars["Eval_SuccessRate"] == np.mean(found.lengths > 4)
    assert 0 < found.scalars["Eval_SuccessRate"] < 1


def said(info):
    """Return an evaluation in a corridor whose last info is `info` of the number of steps."""
    evaluator = build()
    step = evaluator.env.unwrapped.step
    evaluator.env.unwrapped.step = lambda action: (*step(action)[:4], info(evaluator.env.unwrapped.steps))
    return evaluator(CountingPolicy(), 0)


def test_success_is_counted_if_the_environments_info_says_it():
    found = said(lambda steps: {"is_success": np.bool_(steps > 4)})
    assert found.scalars["Eval_SuccessRate"] == np.mean(found.lengths > 4)
    assert said(lambda steps: {"success": 1.0}).scalars["Eval_SuccessRate"] == 1


@pytest.mark.parametrize("value", [None, "yes", 0.5, [1], np.ones(2), float("nan")])
def test_what_is_neither_true_nor_false_is_no_success(value):
    assert "Eval_SuccessRate" not in said(lambda _: {"success": value}).scalars


def test_a_row_of_the_table_may_have_another_score_than_the_return(monkeypatch):
    monkeypatch.setitem(ENVS, "Corridor-v0", EnvRow(score=lambda trajectory: len(trajectory) / 10))
    evaluator = build()
    found = evaluator(CountingPolicy(action=2), 0)
    np.testing.assert_array_equal(found.scores, found.lengths / 10)
    np.testing.assert_array_equal(found.returns, 2 * found.lengths)
    assert found.interval == bootstrap_interval([found.lengths / 10])
    assert found.scalars["Eval_AverageScore"] == pytest.approx(found.lengths.mean() / 10)
    np.testing.assert_array_equal(evaluator.measure(ConstantActor(2)).scores, found.scores)


def test_the_seeds_of_the_episodes_can_be_fixed():
    evaluator = build(eval_seeds="5:11")
    started = evaluator.env.unwrapped.seeds
    evaluator(CountingPolicy(), 0)
    evaluator.measure(ConstantActor(2))
    assert started == [*range(5, 11)] * 2


def test_the_expert_is_measured_by_hand():
    expert = ConstantActor(2)
    returns, lengths, scores = build().measure(expert)
    np.testing.assert_array_equal(scores, returns)
    assert lengths.tolist() == [corridor_length(seed) for seed in expert.seeds]
    np.testing.assert_array_equal(returns, 2 * lengths)


# Agreement with the expert -------------------------------------------------------------------------------


def test_agreement_is_measured_on_the_evaluations_states():
    found = build(StepModuloThree())(CountingPolicy(action=1), 0)
    agreeing = sum(sum(t % 3 == 1 for t in range(length)) for length in found.lengths)
    assert found.scalars["Eval_ExpertAgreement"] == agreeing / found.lengths.sum()


def test_distance_of_continuous_actions_by_hand():
    trajectory = Trajectory(np.ones((3, 2), np.float32), np.zeros((2, 2), np.float32), np.zeros(2))
    expert = ScriptedActor(lambda obs: 3 * obs, (2,))
    distance = agreement(ConstantActor([0.0, -1.0]), expert, [trajectory], False)  # differences 3 and 4
    assert distance == {"Eval_ExpertDistance": pytest.approx(np.sqrt(12.5))}


# Steps that are held out ---------------------------------------------------------------------------------


def test_held_out_steps_are_used_in_every_evaluation():
    policy, evaluator = CountingPolicy(), build(held=[walk(7)])
    without = evaluator(policy, 2, roll_out=False)
    assert (without.scalars, len(without.returns), policy.actors) == ({"Validation Loss": 7}, 0, [])
    found = evaluator(policy, 2)
    assert found.scalars == return_scalars("Eval", found.returns, found.lengths) | without.scalars
    assert build()(policy, 2, roll_out=False).scalars == {}


def test_validation_is_the_mean_over_all_steps(monkeypatch):
    class Policy(CountingPolicy):
        noise_shape = (2,)

        def validate(self, observations, actions, noise=None):
            noises.append(noise.numpy())
            return {"Validation Loss": observations[:, 0].mean().item()}

    noises, buffer = [], ReplayBuffer()
    monkeypatch.setattr(validation, "ROWS_AT_ONCE", 3)
    buffer.add([walk(5), walk(3)])
    found = validate(Policy(), buffer, np.random.default_rng(0))
    assert found == {"Validation Loss": pytest.approx((0 + 1 + 2 + 3 + 4 + 0 + 1 + 2) / 8)}
    rng = np.random.default_rng(0)
    rng.integers(2**62)  # the seed of the head's random actions
    for noise, rows in zip(noises, [3, 3, 2], strict=True):
        np.testing.assert_array_equal(noise, rng.standard_normal((rows, 2), np.float32))


@pytest.mark.parametrize(("fraction", "counts"), [(0.3, [3, 1, 0]), (0.99, [9, 3, 0]), (0.01, [0, 0, 0])])
def test_a_fraction_of_each_episode_is_held_out(fraction, counts):
    trajectories = [walk(10), walk(4, labelled=np.array([True, False, True, True])), walk(1)]
    kept, held = hold_out(trajectories, fraction, np.random.default_rng(0), whole_ends=False)
    chosen = np.random.default_rng(0)
    for whole, one, other, n in zip(trajectories, kept, held, counts, strict=True):
        drawn = np.isin(np.arange(len(whole)), chosen.permutation(len(whole))[:n])
        np.testing.assert_array_equal(one.labelled_steps, whole.labelled_steps & ~drawn)
        np.testing.assert_array_equal(other.labelled_steps, whole.labelled_steps & drawn)
        np.testing.assert_array_equal(one.obs, whole.obs)


def test_with_stacked_observations_the_end_of_each_episode_is_held_out():
    kept, held = hold_out([walk(10), walk(2)], 0.3, np.random.default_rng(0), whole_ends=True)
    assert [t.obs[:, 0].tolist() for t in kept] == [[*range(8)], [0, 1, 2]]
    assert [t.obs[:, 0].tolist() for t in held] == [[7, 8, 9, 10]]
    assert not kept[0].terminated and held[0].terminated and kept[1].terminated
