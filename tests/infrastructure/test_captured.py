"""CUDA graphs. The capture itself needs a GPU (`make test-gpu`), the other tests do not."""

import copy
import gc
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_compiled import CASES, Peeking, assert_same, recording
from test_rl_trainer import build, network_policy, weights_of
from torch import nn

from rl_il.infrastructure import captured, compiled
from rl_il.infrastructure.captured import CapturedStep
from rl_il.infrastructure.compiled import CompiledUpdate, CompileError
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.policies.cnn_policy import CNNPolicySL
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.types import Trajectory


class Dropping(MLPPolicySL):
    """A policy whose gradient step draws random numbers."""

    def build_network(self, features, outputs):
        return nn.Sequential(nn.Linear(features, 16), nn.Dropout(0.5), nn.Linear(16, outputs))


def fake_capture(work, device):
    """Replay `work` as a graph does: on the same memory, with its result in the same place."""
    for _ in range(captured.WARM_UP):
        work()
    result = work().clone()
    return lambda: result.copy_(work()), result


def failing(work, device):
    work()
    raise RuntimeError("operation not permitted when stream is capturing")


def filled(*trajectories, device="cpu", **settings) -> ReplayBuffer:
    buffer = ReplayBuffer(device=device, **settings)
    buffer.add(trajectories)
    return buffer


def trained(policy_class=MLPPolicySL, **settings) -> MLPPolicySL:
    """Return a policy after one eager step, so that its moments are not 0."""
    policy = policy_class((4,), 3, False, size=8, seed=3, **settings)
    policy.update(*filled(recording(20, False)).batch(torch.arange(20)))
    return policy


def state(policy) -> list[torch.Tensor]:
    moments = policy.optimizer.state_dict().values()
    return [tensor.clone() for tensor in (*policy.state_dict().values(), *(t for each in moments for t in each))]


def test_replays_equal_eager_steps(monkeypatch):
    monkeypatch.setattr(captured, "capture", fake_capture)
    eager, buffer = trained(), filled(recording(100, False))
    fast = copy.deepcopy(eager)
    step = CapturedStep(fast, buffer.batch(torch.zeros(10, dtype=torch.int64))[:2])
    for rows in torch.arange(100).split(10):
        batch = buffer.batch(rows)
        assert step(batch[:2]).item() == eager.update(*batch)["Training Loss"]
    assert all(map(torch.equal, state(fast), state(eager)))


@pytest.mark.parametrize("capture", [fake_capture, failing])
def test_a_capture_changes_nothing(capture, monkeypatch):
    monkeypatch.setattr(captured, "capture", capture)
    policy, batch = trained(Dropping), filled(recording(20, False)).batch(torch.arange(20))[:2]
    before = state(policy)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    try:
        CapturedStep(policy, batch)
    except RuntimeError:
        assert capture is failing
    assert torch.equal(torch.rand(3), expected)
    assert all(map(torch.equal, state(policy), before))
    assert all(parameter.grad is None for parameter in policy.parameters())


def test_a_captured_step_keeps_the_tensors_of_which_the_graph_knows_only_the_addresses(monkeypatch):
    monkeypatch.setattr(captured, "capture", lambda work, device: (int, work()))
    policy = trained()
    weight = weakref.ref(policy.head.network[0].weight)
    step = CapturedStep(policy, filled(recording(20, False)).batch(torch.arange(20))[:2])
    del policy
    gc.collect()
    assert weight() is not None
    del step
    gc.collect()
    assert weight() is None


def test_after_a_capture_that_fails_training_is_eager(monkeypatch):
    monkeypatch.setattr(compiled, "CapturedStep", lambda *_: failing(int, None))
    policy, buffer = trained(), filled(recording(20, False))
    policy.device = SimpleNamespace(type="cuda")
    with pytest.raises(CompileError, match="capturing"):
        CompiledUpdate(policy, 4).on(buffer, buffer.batch)


def several(rows: int, seed: int = 0) -> Trajectory:
    """Return a recording whose actions are two integers, with 3 and 2 choices."""
    data = recording(rows, True, seed)
    return Trajectory(data.obs, np.stack((data.acs, data.acs % 2), axis=1), np.zeros(rows))


ON_GPU = {name: (cls, 3, settings, discrete) for name, (cls, discrete, settings) in CASES.items()}
ON_GPU |= {"several integers": (MLPPolicySL, (3, 2), {}, True)}


@pytest.mark.gpu
@pytest.mark.parametrize("case", ON_GPU)
def test_on_a_gpu_captured_training_agrees_with_eager_training_on_the_cpu(case):
    policy_class, choices, settings, discrete = ON_GPU[case]
    settings = {"size": 32, "seed": 3, "learning_rate": 1e-3} | settings
    record = several if case == "several integers" else lambda *args: recording(args[0], discrete, *args[1:])
    eager = policy_class((4,), choices, discrete, **settings)
    fast = policy_class((4,), choices, discrete, device="cuda", **settings)
    for policy in (eager, fast):
        policy.fit_normalization(record(500).obs)
    buffer, on_gpu = filled(record(500)), filled(record(500), device="cuda")
    update = CompiledUpdate(fast, 64)
    for part in range(2):  # the second part has other storage, other statistics and a smaller minibatch
        buffer.add([record(1500, part + 1)])
        on_gpu.add([record(1500, part + 1)])
        step = update.on(on_gpu, on_gpu.batch)
        for rows in [*buffer.draws(64, np.random.default_rng(part), 99), torch.tensor([7, 8])]:
            expected = eager.update(*buffer.batch(rows))["Training Loss"]
            assert step(rows.cuda()).item() == pytest.approx(expected, rel=1e-3, abs=1e-4)
    assert_same(eager, fast.cpu())


def racing(rows: int) -> Trajectory:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (rows + 1, 48, 48, 3), np.uint8)
    return Trajectory(pictures, rng.uniform(-1, 1, (rows, 3)).astype(np.float32), np.zeros(rows))


@pytest.mark.gpu
def test_on_a_gpu_captured_and_eager_training_from_pictures_agree():
    eager = CNNPolicySL((48, 48, 3), 3, False, size=32, seed=3, learning_rate=1e-4, device="cuda")
    fast = copy.deepcopy(eager)
    buffer = filled(racing(200), device="cuda", frame_stack=4, view=eager.view)
    step = CompiledUpdate(fast, 32).on(buffer, buffer.batch)
    for rows in buffer.draws(32, np.random.default_rng(0), 50):
        assert step(rows).item() == pytest.approx(eager.update(*buffer.batch(rows))["Training Loss"], rel=1e-3)
    assert_same(eager, fast)


@pytest.mark.gpu
def test_on_a_gpu_random_numbers_follow_from_the_seed_and_not_from_the_capture():
    buffer, losses = filled(recording(100, False), device="cuda"), []
    for _ in range(2):
        policy = Dropping((4,), 3, False, size=8, seed=3, device="cuda")
        torch.manual_seed(5)
        step = CompiledUpdate(policy, 20).on(buffer, buffer.batch)
        losses.append([step(rows).item() for rows in torch.arange(100, device="cuda").split(20)])
        same = policy.loss(*buffer.batch(torch.arange(20, device="cuda"))[:2]).item()
        assert same != policy.loss(*buffer.batch(torch.arange(20, device="cuda"))[:2]).item()
    assert losses[0] == losses[1]
    torch.manual_seed(6)
    policy = Dropping((4,), 3, False, size=8, seed=3, device="cuda")
    assert CompiledUpdate(policy, 20).on(buffer, buffer.batch)(torch.arange(20, device="cuda")).item() != losses[0][0]


@pytest.mark.gpu
def test_on_a_gpu_a_loss_that_cannot_be_captured_is_trained_eagerly():
    policy, buffer = Peeking((4,), 3, True, size=8, device="cuda"), filled(recording(100, True), device="cuda")
    before, rows = state(policy), torch.arange(20, device="cuda")
    with pytest.raises(CompileError, match="captur"):
        CompiledUpdate(policy, 20).on(buffer, buffer.batch)
    assert all(map(torch.equal, state(policy), before))
    losses = [policy.update(*buffer.batch(rows)[:2])["Training Loss"] for _ in range(20)]
    assert losses[-1] < losses[0]


@pytest.mark.gpu
def test_on_a_gpu_the_memory_does_not_increase_with_the_iterations():
    policy, buffer = MLPPolicySL((4,), 3, False, size=8, device="cuda"), filled(recording(100, False), device="cuda")
    update, used = CompiledUpdate(policy, 20), []
    for _ in range(6):
        update.on(buffer, buffer.batch)(torch.arange(20, device="cuda"))
        used.append(torch.cuda.memory_allocated())
    assert used[-1] == used[1]


@pytest.mark.gpu
def test_on_a_gpu_steps_are_captured_unless_the_user_says_no_and_the_results_are_equal():
    runs = [build(network_policy(device="cuda"), n_iter=3, compile=choice) for choice in ("auto", "on", "off")]
    losses = [np.concatenate([block.losses for block in run.run_training_loop()]) for run in runs]
    assert [run.fit.compiles for run in runs] == [True, True, False]
    for run, each in zip(runs[1:], losses[1:], strict=True):
        np.testing.assert_array_equal(each, losses[0])
        assert weights_of(run.policy) == weights_of(runs[0].policy)
