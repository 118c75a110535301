import copy

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
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.types import Trajectory

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


class Wavy(MLPPolicySL):
    """Has an encoder and a loss of its own, with parameters that the class below it knows nothing of."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.frequency = nn.Parameter(torch.full((self.ob_shape[0],), 0.5))
        self.unused = nn.Parameter(torch.ones(3))
        self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)

    def encode(self, observations):
        return self.frozen * torch.sin(self.frequency * super().encode(observations))

    def loss(self, observations, actions):
        return super().loss(observations, actions) + 0.01 * self.network[0].weight.square().sum()


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


def train_both_ways(case: str):
    """Two policies after 200 steps of each kind on the same minibatches, and the losses that they reported."""
    policy_class, discrete, settings = CASES[case]
    eager = policy_class((4,), 3, discrete, seed=3, learning_rate=1e-3, **{"size": 32} | settings)
    data = recording(500, discrete)
    eager.fit_normalization(data.obs)
    fast, buffer, losses = copy.deepcopy(eager), ReplayBuffer(), ([], [])
    update = CompiledUpdate(fast, 64)
    for part in range(2):  # the second round has another room, other buffers and a smaller minibatch
        buffer.add([data, recording(1500, discrete, part + 1)])
        step = update.on(buffer, buffer.batch)
        rows = [*buffer.draws(64, np.random.default_rng(part), 99), torch.tensor([7])]
        for one in rows:
            losses[0].append(eager.update(*buffer.batch(one))["Training Loss"])
            losses[1].append(step(one))
    return eager, fast, losses


@pytest.mark.parametrize("case", CASES)
def test_compiled_and_eager_training_agree(case):
    eager, fast, losses = train_both_ways(case)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4, atol=1e-5)
    for (name, expected), found in zip(eager.state_dict().items(), fast.state_dict().values(), strict=True):
        torch.testing.assert_close(found, expected, **TOLERANCE, msg=lambda text, name=name: f"{name}: {text}")
    assert [c.item() for c in fast.optimizer.counts] == [c.item() for c in eager.optimizer.counts]
    # Either goes on where the other stopped: the optimiser's state is the same too.
    obs, acs = torch.ones(8, 4), torch.zeros(8, dtype=torch.long) if eager.discrete else torch.zeros(8, 3)
    for policy in (eager, fast):
        policy.update(obs, acs)
    for expected, found in zip(eager.parameters(), fast.parameters(), strict=True):
        torch.testing.assert_close(found, expected, **TOLERANCE)


def test_the_compiled_step_keeps_parameters_in_their_range():
    """Labels without noise pull the standard deviation to nothing."""
    policy, buffer = MLPPolicySL((4,), 3, False, n_layers=0, loss="nll", learning_rate=0.1), ReplayBuffer()
    buffer.add([Trajectory(np.zeros((9, 4), np.float32), np.zeros((8, 3), np.float32), np.zeros(8))])
    step = CompiledUpdate(policy, 8).on(buffer, buffer.batch)
    for _ in range(100):
        step(torch.arange(8))
    assert policy.log_std.tolist() == [-5, -5, -5]


def test_two_policies_of_one_shape_do_not_share_a_step():
    buffer = ReplayBuffer()
    buffer.add([recording(100, True)])
    first, second = (MLPPolicySL((4,), 3, True, seed=seed, size=8) for seed in (1, 2))
    steps = [CompiledUpdate(policy, 100).on(buffer, buffer.batch) for policy in (first, second)]
    before = copy.deepcopy(first.state_dict())
    rows = torch.arange(100)
    expected = second.loss(*buffer.batch(rows)).item()
    assert steps[1](rows) == pytest.approx(expected, abs=1e-6)
    assert all(map(torch.equal, first.state_dict().values(), before.values()))


def test_the_learning_rate_and_the_standardisation_may_change_afterwards():
    eager, data = MLPPolicySL((4,), 3, False, size=8), recording(100, False)
    fast, buffer = copy.deepcopy(eager), ReplayBuffer()
    buffer.add([data])
    update, rows = CompiledUpdate(fast, 100), torch.arange(100)
    for policy, step in ((eager, None), (fast, update.on(buffer, buffer.batch))):
        step(rows) if step else policy.update(*buffer.batch(rows))
        policy.optimizer.learning_rate = 0.05
        policy.fit_normalization(data.obs)
    step = update.on(buffer, buffer.batch)
    for _ in range(5):
        eager.update(*buffer.batch(rows))
        step(rows)
    for expected, found in zip(eager.parameters(), fast.parameters(), strict=True):
        torch.testing.assert_close(found, expected, **TOLERANCE)


def test_freezing_a_layer_compiles_anew():
    eager, data = MLPPolicySL((4,), 3, False, size=8), recording(100, False)
    fast, buffer = copy.deepcopy(eager), ReplayBuffer()
    buffer.add([data])
    update, rows = CompiledUpdate(fast, 100), torch.arange(100)
    update.on(buffer, buffer.batch)(rows)
    eager.update(*buffer.batch(rows))
    for policy in (eager, fast):
        policy.network[0].weight.requires_grad_(False)
    step = update.on(buffer, buffer.batch)
    for _ in range(5):
        step(rows)
        eager.update(*buffer.batch(rows))
    for expected, found in zip(eager.parameters(), fast.parameters(), strict=True):
        torch.testing.assert_close(found, expected, **TOLERANCE)


def test_parameters_of_different_ages_are_refused():
    policy, buffer = MLPPolicySL((4,), 3, False, size=8), ReplayBuffer()
    buffer.add([recording(100, False)])
    policy.network[0].weight.requires_grad_(False)
    policy.update(*buffer.batch(torch.arange(100)))
    policy.network[0].weight.requires_grad_(True)
    with pytest.raises(CompileError, match="different numbers of steps"):
        CompiledUpdate(policy, 100).on(buffer, buffer.batch)


def test_only_a_smaller_minibatch_is_trained_eagerly(monkeypatch):
    policy, buffer, eager = MLPPolicySL((4,), 3, False, size=8), ReplayBuffer(), []
    buffer.add([recording(100, False)])
    step = CompiledUpdate(policy, 40).on(buffer, buffer.batch)
    update = policy.update
    monkeypatch.setattr(policy, "update", lambda obs, acs: eager.append(len(obs)) or update(obs, acs))
    for rows in torch.arange(100).split(40):
        before = [parameter.clone() for parameter in policy.network.parameters()]
        step(rows)
        assert not any(map(torch.equal, policy.network.parameters(), before))
    assert eager == [20]


def test_the_cheap_tanh_is_tanh():
    x = torch.linspace(-12, 12, 100_001)
    torch.testing.assert_close(compiled.cheap_tanh(x), x.tanh(), rtol=0, atol=3e-7)


def test_labels_of_a_wrong_shape_are_refused():
    buffer = ReplayBuffer()
    buffer.add([walk(5)])
    with pytest.raises(InputError, match=r"labels must have the shape \(5, 1\), got \(5,\)"):
        CompiledUpdate(MLPPolicySL((2,), 1, False), 5).on(buffer, buffer.batch)


# Where it cannot be compiled -----------------------------------------------------------------------------


class Peeking(MLPPolicySL):
    """Its loss asks for a number, which a compiled step cannot."""

    def loss(self, observations, actions):
        loss = super().loss(observations, actions)
        return loss if loss.item() > 0 else -loss


class Clipping(MLPPolicySL):
    """Does more in its update than a compiled step would."""

    def update(self, observations, actions):
        return super().update(observations, actions)


def failing_policies():
    clipping = Clipping((2,), 3, True, n_layers=1, size=8, seed=3)
    momentum = network_policy()
    momentum.optimizer = torch.optim.SGD(momentum.parameters(), lr=0.1)
    peeking = Peeking((2,), 3, True, n_layers=1, size=8, seed=3)
    return [
        (momentum, "an optimiser of its own"),
        (peeking, "data-dependent"),
        (clipping, "Clipping overrides update"),
    ]


@pytest.mark.parametrize(("policy", "reason"), failing_policies(), ids=["optimiser", "loss", "update"])
def test_training_goes_on_eagerly(policy, reason, capsys):
    trainer = build(policy, n_iter=2, compile="on")
    results = trainer.run_training_loop()
    assert len(results) == 2
    assert trainer.fitting.compiles is False
    note = capsys.readouterr().err
    assert note.startswith("note: the gradient step is not compiled, and slower: ")
    assert reason in note
    assert note.count("\n") == 1


@pytest.mark.parametrize("compiler", [None, "no-such-compiler"])
def test_a_machine_without_a_compiler(compiler, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CXX", compiler) if compiler else monkeypatch.delenv("CXX", raising=False)
    eager = build(network_policy(), compile="off").run_training_loop()
    assert capsys.readouterr().err == ""
    found = build(network_policy(), compile="on").run_training_loop()
    assert found[0].scalars["Training Loss"] == eager[0].scalars["Training Loss"]
    assert f"no C++ compiler ({compiler or 'g++'})" in capsys.readouterr().err


def test_a_compiler_s_long_message_is_cut_to_what_matters():
    assert compiled._reason(RuntimeError("a\nb.cpp:3: error: no such header\nc")) == "b.cpp:3: error: no such header"
    assert compiled._reason(RuntimeError("first\nsecond")) == "first"
    assert compiled._reason(ValueError()) == "ValueError"
    assert CompileError.__mro__[1] is RuntimeError


# In the loop ---------------------------------------------------------------------------------------------


def test_a_compiled_run_is_the_eager_one_to_five_digits():
    demonstrations = [walk(length, action=length % 3) for length in range(3, 40)]
    runs = [
        build(
            network_policy(learning_rate=1e-3),
            demonstrations,
            n_iter=3,
            compile=choice,
            n_epochs=2,
            train_batch_size=50,
            normalize_obs=True,
        )
        for choice in ("off", "on")
    ]
    eager, fast = ([r.scalars["Training Loss"] for r in run.run_training_loop()] for run in runs)
    assert [run.fitting.compiles for run in runs] == [False, True]
    np.testing.assert_allclose(fast, eager, rtol=1e-4)
    for expected, found in zip(runs[0].policy.parameters(), runs[1].policy.parameters(), strict=True):
        torch.testing.assert_close(found, expected, **TOLERANCE)
    assert runs[1].clock.seconds["compile"] > 0
    assert "compile" not in runs[0].clock.seconds
