import copy
import functools

import numpy as np
import pytest
import torch
from fakes import walk
from test_rl_trainer import build, network_policy
from torch import nn

from rl_il.errors import InputError
from rl_il.infrastructure import compiled
from rl_il.infrastructure.compiled import CompiledUpdate, CompileError
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.policies.encoders import Flatten
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.types import Trajectory

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


class Sines(Flatten):
    """An encoder with parameters: some trained, some unused, some frozen. Its buffers change in each step."""

    def __init__(self, ob_shape):
        super().__init__(ob_shape)
        self.frequency = nn.Parameter(torch.full((self.n_features,), 0.5))
        self.norm = nn.BatchNorm1d(self.n_features)
        self.unused = nn.Parameter(torch.ones(3))
        self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, observations):
        return self.frozen * torch.sin(self.frequency * self.norm(super().forward(observations)))


class Wavy(MLPPolicySL):
    """A policy with its own encoder and loss."""

    def build_encoder(self):
        return Sines(self.ob_shape)

    def loss(self, observations, actions):
        return super().loss(observations, actions) + 0.01 * self.head.network[0].weight.square().sum()


CASES = {
    "mse": (MLPPolicySL, False, {}),
    "l1, relu": (MLPPolicySL, False, {"loss": "l1", "activation": "relu", "n_layers": 1}),
    "Gaussian with decay": (MLPPolicySL, False, {"loss": "nll", "weight_decay": 0.1}),
    "cross-entropy": (MLPPolicySL, True, {}),
    "a subclass": (Wavy, False, {"weight_decay": 0.1}),
}


def recording(rows: int, discrete: bool, seed: int = 0) -> Trajectory:
    rng = np.random.default_rng(seed)
    obs = rng.normal(2, 3, (rows + 1, 4)).astype(np.float32)
    wish = np.stack([obs[:-1, 0] * obs[:-1, 1], np.sin(obs[:-1, 2]), obs[:-1, 3]], axis=1) / 3
    acs = wish.argmax(axis=1) if discrete else wish.astype(np.float32)
    return Trajectory(obs, acs, np.zeros(rows))


def stored(rows: int = 100, discrete: bool = False) -> ReplayBuffer:
    buffer = ReplayBuffer()
    buffer.add([recording(rows, discrete)])
    return buffer


class Dropping(MLPPolicySL):
    """A policy whose loss draws random numbers."""

    def loss(self, observations, actions):
        return super().loss(nn.functional.dropout(observations, 0.5), actions)


def test_preparing_a_step_changes_neither_the_policy_nor_the_random_numbers():
    policy, buffer = Wavy((4,), 3, False, size=32, seed=3), stored()
    before, state = copy.deepcopy(policy.state_dict()), torch.get_rng_state()
    CompiledUpdate(policy, 64).on(buffer, buffer.batch)
    assert all(map(torch.equal, policy.state_dict().values(), before.values()))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.slow
def test_the_random_numbers_of_a_compiled_loss_follow_from_the_seed():
    buffer, losses = stored(), []
    update = CompiledUpdate(Dropping((4,), 3, False, size=32, seed=3, learning_rate=0.0), 64)
    step = update.on(buffer, buffer.batch)
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append([step(torch.arange(64)).item() for _ in range(3)])
    assert losses[0] == losses[1] != losses[2]
    assert len({*losses[0]}) == 3
    state = torch.get_rng_state()
    update.on(buffer, buffer.batch)
    assert torch.equal(torch.get_rng_state(), state)


def assert_same(first: MLPPolicySL, second: MLPPolicySL) -> None:
    for (name, expected), found in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        torch.testing.assert_close(found, expected, **TOLERANCE, msg=lambda text, name=name: f"{name}: {text}")


SLOW = ("l1, relu", "Gaussian with decay")  # what they add to the others takes 10 s each


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow if case in SLOW else ()) for case in CASES]
)
def test_compiled_and_eager_training_agree(case):
    policy_class, discrete, settings = CASES[case]
    eager = policy_class((4,), 3, discrete, seed=3, learning_rate=1e-3, **{"size": 32} | settings)
    eager.fit_normalization(recording(500, discrete).obs)
    fast, buffer, losses = copy.deepcopy(eager), stored(500, discrete), []
    update = CompiledUpdate(fast, 64)
    for part in range(2):  # the second part has other storage, other statistics and a smaller minibatch
        buffer.add([recording(1500, discrete, part + 1)])
        step = update.on(buffer, buffer.batch)
        for rows in [*buffer.draws(64, np.random.default_rng(part), 99), torch.tensor([7, 8])]:
            losses.append((eager.update(*buffer.batch(rows))["Training Loss"], step(rows).item()))
    np.testing.assert_allclose(*np.transpose(losses), rtol=1e-4, atol=1e-5)
    assert_same(eager, fast)
    assert [c.item() for c in fast.optimizer.counts] == [c.item() for c in eager.optimizer.counts]
    for policy in (eager, fast):  # the optimisers' states are the same too, so each can continue the other's training
        policy.update(*buffer.batch(torch.arange(8)))
    assert_same(eager, fast)


@pytest.mark.slow
def test_compiled_and_eager_training_agree_with_dropout_after_layer_normalisation():
    eager, buffer, losses = (
        MLPPolicySL((4,), 3, False, size=32, n_layers=1, dropout=0.5, layer_norm=True),
        stored(),
        [],
    )
    fast, rows = copy.deepcopy(eager), torch.arange(64)
    step = CompiledUpdate(fast, 64).on(buffer, buffer.batch)
    for seed in range(5):
        for update in (lambda rows: eager.update(*buffer.batch(rows))["Training Loss"], step):
            torch.manual_seed(seed)  # so that both drop the same numbers
            losses.append(float(update(rows)))
    np.testing.assert_allclose(losses[::2], losses[1::2], rtol=1e-4)
    assert_same(eager, fast)


@pytest.mark.slow
def test_compiled_and_eager_training_agree_for_actions_of_several_integers():
    rng, buffer = np.random.default_rng(0), ReplayBuffer()
    obs = rng.normal(0, 1, (501, 4)).astype(np.float32)
    acs = np.stack([obs[:-1, :3].argmax(axis=1), obs[:-1, 3] > 0], axis=1).astype(np.int64)
    buffer.add([Trajectory(obs, acs, np.zeros(500))])
    eager = MLPPolicySL((4,), (3, 2), True, seed=3, learning_rate=1e-3, size=32)
    fast = copy.deepcopy(eager)
    step = CompiledUpdate(fast, 64).on(buffer, buffer.batch)
    for rows in buffer.draws(64, rng, 200):
        assert step(rows).item() == pytest.approx(eager.update(*buffer.batch(rows))["Training Loss"], abs=1e-5)
    assert_same(eager, fast)


@pytest.mark.slow
def test_compiled_training_scales_bytes_as_eager_training_does():
    rng, buffer = np.random.default_rng(0), ReplayBuffer()
    buffer.add([Trajectory(rng.integers(0, 256, (101, 4)).astype(np.uint8), rng.integers(0, 3, 100), np.zeros(100))])
    eager = MLPPolicySL((4,), 3, True, size=8)
    eager.encoder.scale(np.full(4, 255))
    fast = copy.deepcopy(eager)
    step = CompiledUpdate(fast, 16).on(buffer, buffer.batch)
    for rows in buffer.draws(16, rng, 20):
        assert step(rows).item() == pytest.approx(eager.update(*buffer.batch(rows))["Training Loss"], abs=1e-5)
    assert_same(eager, fast)


@pytest.mark.slow
def test_the_compiled_step_keeps_the_standard_deviation_in_its_range():
    policy, buffer = MLPPolicySL((4,), 3, False, size=32, loss="nll", learning_rate=0.1), ReplayBuffer()
    for parameter in policy.head.network[-1].parameters():
        nn.init.zeros_(parameter)  # then the mean is right, and only the standard deviation changes
    buffer.add([Trajectory(np.zeros((65, 4), np.float32), np.zeros((64, 3), np.float32), np.zeros(64))])
    step = CompiledUpdate(policy, 64).on(buffer, buffer.batch)
    for _ in range(100):
        step(torch.arange(64))
    assert policy.head.log_std.tolist() == [-5, -5, -5]


class Halving(MLPPolicySL):
    """A policy with its own `gradient_step`."""

    compilable = False

    def gradient_step(self, *batch):
        return super().gradient_step(*batch) / 2


def test_a_policy_with_its_own_gradient_step_is_not_compiled():
    with pytest.raises(CompileError, match="Halving"):
        CompiledUpdate(Halving((4,), 3, False), 64)
    with pytest.raises(TypeError, match="compilable"):
        type("Forgetting", (MLPPolicySL,), {"gradient_step": Halving.gradient_step})


def test_two_policies_of_the_same_shape_do_not_share_a_step():
    buffer = stored(discrete=True)
    first, second = (MLPPolicySL((4,), 3, True, seed=seed, size=32) for seed in (1, 2))
    steps = [CompiledUpdate(policy, 64).on(buffer, buffer.batch) for policy in (first, second)]
    before = copy.deepcopy(first.state_dict())
    rows = torch.arange(64)
    expected = second.loss(*buffer.batch(rows)).item()
    assert steps[1](rows).item() == pytest.approx(expected, abs=1e-6)
    assert all(map(torch.equal, first.state_dict().values(), before.values()))


def change_settings(policy, data):
    policy.optimizer.learning_rate, policy.optimizer.weight_decay = 0.05, 0.1
    policy.fit_normalization(data.obs)


def freeze_a_layer(policy, data):
    policy.head.network[0].weight.requires_grad_(False)


@pytest.mark.parametrize("change", [change_settings, freeze_a_layer])
def test_a_policy_may_change_between_two_iterations(change):
    eager, buffer = MLPPolicySL((4,), 3, False, size=32), stored()
    fast, rows = copy.deepcopy(eager), torch.arange(64)
    update = CompiledUpdate(fast, 64)
    update.on(buffer, buffer.batch)(rows)
    eager.update(*buffer.batch(rows))
    for policy in (eager, fast):
        change(policy, recording(100, False))
    step = update.on(buffer, buffer.batch)
    for _ in range(5):
        step(rows)
        eager.update(*buffer.batch(rows))
    assert_same(eager, fast)


def test_parameters_with_different_numbers_of_steps_are_refused():
    policy, buffer = MLPPolicySL((4,), 3, False, size=8), stored()
    policy.head.network[0].weight.requires_grad_(False)
    policy.update(*buffer.batch(torch.arange(100)))
    policy.head.network[0].weight.requires_grad_(True)
    with pytest.raises(CompileError, match="different"):
        CompiledUpdate(policy, 100).on(buffer, buffer.batch)


def test_only_a_smaller_minibatch_is_trained_eagerly(monkeypatch):
    policy, buffer, eager = MLPPolicySL((4,), 3, False, size=32), stored(), []
    step = CompiledUpdate(policy, 64).on(buffer, buffer.batch)
    gradient_step = policy.gradient_step
    monkeypatch.setattr(policy, "gradient_step", lambda *batch: eager.append(len(batch[0])) or gradient_step(*batch))
    for rows in torch.arange(100).split(64):
        before = [parameter.clone() for parameter in policy.head.network.parameters()]
        step(rows)
        assert not any(map(torch.equal, policy.head.network.parameters(), before))
    assert eager == [36]


def test_the_cheap_tanh_equals_tanh():
    x = torch.linspace(-12, 12, 100_001)
    torch.testing.assert_close(compiled.cheap_tanh(x), x.tanh(), rtol=0, atol=3e-7)


def test_labels_of_a_wrong_shape_are_refused():
    buffer = ReplayBuffer()
    buffer.add([walk(5)])
    with pytest.raises(InputError, match=r"\(5, 1\).*\(5,\)"):
        CompiledUpdate(MLPPolicySL((2,), 1, False), 5).on(buffer, buffer.batch)


class Peeking(MLPPolicySL):
    """A policy whose loss reads a Python number from a tensor, which cannot be compiled."""

    def loss(self, observations, actions):
        loss = super().loss(observations, actions)
        return loss if loss.item() > 0 else -loss


class Clipping(MLPPolicySL):
    """A policy whose `update` does more than a compiled step."""

    compilable = False

    def update(self, observations, actions, noise=None):
        return super().update(observations, actions)


class Momentum(MLPPolicySL):
    """A policy with another optimiser."""

    @functools.cached_property
    def optimizer(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize(
    ("policy_class", "reason"), [(Momentum, "SGD"), (Peeking, "data-dependent"), (Clipping, "Clipping")]
)
def test_training_continues_eagerly_and_the_note_says_why(policy_class, reason, capsys):
    trainer = build(policy_class((2,), 3, True, n_layers=1, size=8, seed=3), n_iter=2, compile="on")
    assert len(trainer.run_training_loop()) == 2
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note:")]
    assert len(notes) == 1
    assert reason in notes[0]


@pytest.mark.parametrize("compiler", [None, "no-such-compiler"])
def test_a_machine_without_a_compiler(compiler, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", compiler) if compiler else monkeypatch.delenv("CXX", raising=False)
    eager = build(network_policy(), compile="off").run_training_loop()
    assert capsys.readouterr().err == ""
    found = build(network_policy(), compile="on").run_training_loop()
    np.testing.assert_array_equal(found[0].losses, eager[0].losses)
    assert (compiler or "g++") in capsys.readouterr().err


def test_a_compiled_run_equals_the_eager_one_to_five_digits():
    demonstrations = [walk(length, action=length % 3) for length in range(3, 40)]
    settings = {"n_iter": 3, "n_epochs": 2, "train_batch_size": 8, "normalize_obs": True}
    policies = [network_policy(learning_rate=1e-3) for _ in range(2)]
    runs = [build(p, demonstrations, compile=c, **settings) for p, c in zip(policies, ("off", "on"), strict=True)]
    eager, fast = (np.concatenate([block.losses for block in run.run_training_loop()]) for run in runs)
    assert [run.fit.compiles for run in runs] == [False, True]
    np.testing.assert_allclose(fast, eager, rtol=1e-4)
    assert_same(runs[0].policy, runs[1].policy)
