"""The schedule of the learning rate, averaged weights, dropout and noise in gradient steps."""

import copy
import functools

import numpy as np
import pytest
import torch
from fakes import walk
from test_captured import fake_capture, filled
from test_compiled import assert_same, recording
from test_rl_trainer import build, network_policy, weights_of

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.infrastructure import captured
from rl_il.infrastructure.averaging import AveragedWeights
from rl_il.infrastructure.captured import CapturedStep
from rl_il.infrastructure.gradient_steps import GradientSteps, cosine
from rl_il.policies.mlp_policy import MLPPolicySL


class Noting(MLPPolicySL):
    """A policy that keeps the learning rate of each step, and the observations."""

    compilable = False

    def update(self, observations, actions, noise=None):
        self.__dict__.setdefault("rates", []).append(self.optimizer.learning_rate)
        self.__dict__.setdefault("seen", []).append(observations.clone())
        return super().update(observations, actions)


def noting(**settings) -> Noting:
    return Noting.for_env(build().env, n_layers=1, size=8, seed=3, **settings)


# The schedule --------------------------------------------------------------------------------------------


def test_cosine_at_the_beginning_in_the_middle_and_at_the_end():
    assert [cosine(part) for part in (0, 1 / 3, 0.5, 1)] == pytest.approx([1, 0.75, 0.5, 0])


def test_the_rate_decreases_over_all_iterations_and_is_restored():
    policy = noting(learning_rate=0.1)
    build(policy, n_iter=3, num_agent_train_steps_per_iter=4, lr_schedule="cosine").run_training_loop()
    assert policy.rates == pytest.approx([0.1 * (1 + np.cos(np.pi * t / 12)) / 2 for t in range(12)])
    assert policy.optimizer.learning_rate == 0.1  # a later training begins with it again
    build(policy, learning_rate=0.1).run_training_loop()
    assert policy.rates[12:] == [0.1] * 3


def test_with_epochs_each_iteration_is_an_equal_part_of_the_schedule():
    policy = noting(learning_rate=1.0)
    blocks = build(policy, n_iter=2, n_epochs=1, train_batch_size=4, lr_schedule="cosine").run_training_loop()
    first, second = (block.steps for block in blocks)
    assert second > first
    places = [t / first / 2 for t in range(first)] + [0.5 + t / second / 2 for t in range(second)]
    assert policy.rates == pytest.approx([*map(cosine, places)])


class Momentum(MLPPolicySL):
    """A policy with its own optimiser."""

    @functools.cached_property
    def optimizer(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_a_policy_with_its_own_optimiser_is_refused():
    with pytest.raises(InputError, match=r"--lr_schedule.*Momentum.*SGD"):
        build(Momentum((2,), 3, True), lr_schedule="cosine")


def test_a_captured_step_reads_a_rate_that_was_changed_before(monkeypatch):
    monkeypatch.setattr(captured, "capture", fake_capture)
    eager, buffer = MLPPolicySL((4,), 3, False, size=8, seed=3), filled(recording(100, False))
    fast = copy.deepcopy(eager)
    fast.optimizer._rate = torch.tensor(1.0)  # as on a GPU, after the first change
    step = CapturedStep(fast, buffer.batch(torch.zeros(10, dtype=torch.int64))[:2])
    for i, rows in enumerate(torch.arange(100).split(10)):
        for policy in (eager, fast):
            policy.optimizer.learning_rate = 1 / 2**i  # exact in single precision
        step(buffer.batch(rows)[:2])
        eager.update(*buffer.batch(rows))
    assert_same(eager, fast)


@pytest.mark.gpu
def test_on_a_gpu_captured_steps_follow_the_schedule_as_eager_ones_do():
    settings = {"n_iter": 3, "lr_schedule": "cosine", "average_weights": True}
    runs = [build(network_policy(device="cuda", dropout=0.3), compile=c, **settings) for c in ("on", "off")]
    losses = [np.concatenate([block.losses for block in run.run_training_loop()]) for run in runs]
    assert [run.fit.compiles for run in runs] == [True, False]
    np.testing.assert_array_equal(*losses)
    assert weights_of(runs[0].policy) == weights_of(runs[1].policy)
    constant = build(network_policy(device="cuda", dropout=0.3), n_iter=3)
    constant.run_training_loop()
    assert weights_of(constant.policy) != weights_of(runs[0].policy)


# Averaged weights ----------------------------------------------------------------------------------------


def test_the_average_of_a_known_sequence():
    policy = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(policy.weight)
    average, expected = AveragedWeights(policy), 0.0
    with average.training():
        for t, value in enumerate([8.0, 16.0, 0.0]):
            torch.nn.init.constant_(policy.weight, value)
            average.follow()
            expected += (1 + t) ** -0.75 * (value - expected)
        assert policy.weight.item() == 0  # the last one
    assert policy.weight.item() == pytest.approx(expected)
    assert expected == pytest.approx((8 + 8 * 2**-0.75) * (1 - 3**-0.75))
    average.steps = 10**9
    with average.training():
        torch.nn.init.constant_(policy.weight, expected + 1)
        average.follow()
    assert policy.weight.item() == pytest.approx(expected + 1e-4, abs=1e-5)


def test_training_is_that_of_the_plain_weights_and_the_average_acts():
    plain, averaged = network_policy(), network_policy()
    settings = {"num_agent_train_steps_per_iter": 20, "eval_interval": "8"}  # three blocks
    expected = [block.losses for block in build(plain, **settings).blocks()]
    trainer, seen = build(averaged, average_weights=True, **settings), []
    for block, losses in zip(trainer.blocks(), expected, strict=True):
        np.testing.assert_array_equal(block.losses, losses)
        seen.append(weights_of(trainer.policy))
    assert weights_of(averaged) != weights_of(plain)
    with trainer.fit.average.training():
        assert weights_of(averaged) == weights_of(plain)
    assert weights_of(averaged) == seen[-1] != seen[-2]
    assert trainer.fit.average.steps == 20


def test_the_average_follows_each_step():
    policy, twin = network_policy(), network_policy()
    trainer = build(policy, average_weights=True, num_agent_train_steps_per_iter=5)
    batches = []
    original = trainer.buffer.batch
    trainer.buffer.batch = lambda rows: batches.append(original(rows)) or batches[-1]
    trainer.run_training_loop()
    expected = {name: tensor.clone() for name, tensor in twin.named_parameters()}
    for t, batch in enumerate(batches):
        twin.update(*batch)
        for name, parameter in twin.named_parameters():
            expected[name] += (1 + t) ** -0.75 * (parameter.detach() - expected[name])
    for name, parameter in policy.named_parameters():
        torch.testing.assert_close(parameter.detach(), expected[name])


def test_the_averaged_policy_collects_with_dagger():
    trainer = build(network_policy(), n_iter=2, average_weights=True)
    blocks = trainer.blocks()
    next(blocks)
    before = trainer.policy.get_action(OBS := np.array([[1, 5], [2, 5]], np.float32))
    next(blocks)
    ((_, snapshot),) = trainer.rule.rounds
    np.testing.assert_array_equal(snapshot.get_action(OBS), before)


def test_a_policy_without_parameters_cannot_be_averaged():
    with pytest.raises(InputError, match=r"--average_weights.*CountingPolicy"):
        build(average_weights=True)


# Noise and dropout ---------------------------------------------------------------------------------------


def test_noise_has_the_size_of_the_demonstrations_and_follows_from_the_seed():
    data, seen = [walk(length) for length in range(40, 60)], []
    for seed in (1, 1, 2):
        policy = noting(learning_rate=1e-9)
        settings = {"train_batch_size": 2000, "augment": "noise", "augment_noise": 0.2, "seed": seed}
        trainer = build(policy, data, num_agent_train_steps_per_iter=2, **settings)
        trainer.run_training_loop()
        seen.append(torch.stack(policy.seen))
    assert torch.equal(seen[0], seen[1]) and not torch.equal(seen[0], seen[2])
    assert not torch.equal(*seen[0])
    difference = seen[0] - seen[0].round()
    assert (difference[..., 1] != 0).any()
    lengths = np.repeat(np.arange(40, 60), np.arange(40, 60))  # the second number, once for each step
    plain = build(noting(learning_rate=1e-9), data, num_agent_train_steps_per_iter=2, train_batch_size=2000)
    plain.run_training_loop()
    noise = (seen[0] - torch.stack(plain.policy.seen)).flatten(0, 1).std(dim=0)
    assert noise[1].item() == pytest.approx(0.2 * lengths.std(), rel=0.05)
    assert torch.equal(trainer.buffer.obs, trainer.buffer.obs.round())  # what is stored has none


def test_a_run_without_options_makes_the_steps_of_before():
    policy, buffer = network_policy(), filled(walk(9))
    steps = GradientSteps(RunConfig(), policy, buffer, compiles=False)
    assert steps.state_dict() == {"compiled": False}
    twin = copy.deepcopy(policy)
    steps([torch.arange(9)] * 3, itr=0, first_step=0)
    for _ in range(3):
        twin.update(*buffer.batch(torch.arange(9)))
    assert weights_of(policy) == weights_of(twin)


def test_one_step_at_a_time_depends_on_the_seed_and_the_step():
    losses = []
    for seed in (1, 1, 2):
        torch.rand(7)  # the global generator must not matter
        steps = GradientSteps(RunConfig(seed=seed, dropout=0.5), network_policy(dropout=0.5), filled(walk(9)), False)
        losses.append([steps.take(torch.arange(9), 0, step) for step in range(3)])
    assert losses[0] == losses[1] != losses[2]


# Compiled ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_compiled_steps_with_all_options_but_dropout_agree_with_eager_ones():
    settings = {"n_iter": 2, "num_agent_train_steps_per_iter": 60, "train_batch_size": 64, "lr_schedule": "cosine"}
    settings |= {"average_weights": True, "augment": "noise", "normalize_acs": True, "weight_decay": 0.1}
    data, runs = [recording(300, False)], []
    for compiled in ("off", "on"):
        policy = MLPPolicySL((4,), 3, False, size=32, seed=3, layer_norm=True, normalize_acs=True, learning_rate=0.01)
        trainer = build(policy, data, compile=compiled, **settings | {"n_iter": 1})
        runs.append((trainer, np.concatenate([block.losses for block in trainer.run_training_loop()])))
    (eager, expected), (fast, found) = runs
    assert (eager.fit.compiles, fast.fit.compiles) == (False, True)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    assert_same(eager.policy, fast.policy)
    with eager.fit.average.training(), fast.fit.average.training():
        assert_same(eager.policy, fast.policy)
