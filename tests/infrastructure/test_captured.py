"""CUDA graphs. The capture itself needs a GPU (`make test-gpu`), the other tests do not."""

import contextlib
import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_compiled import TOLERANCE, recording

from rl_il.infrastructure import captured, compiled
from rl_il.infrastructure.compiled import CompiledUpdate, CompileError
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.policies.mlp_policy import MLPPolicySL


def fake_capture(work):
    """Replay `work` as a graph does: on the same memory, with its result in the same place."""
    for _ in range(captured.WARM_UP):
        work()
    result = work().clone()
    return lambda: result.copy_(work()), result


def add(x, y, total):
    """Add x + y to `total` in place, and return its value before."""
    before = total.clone()
    total += x + y
    return before


def test_a_replay_reads_the_new_batch_and_keeps_the_state(monkeypatch):
    monkeypatch.setattr(captured, "capture", fake_capture)
    total = torch.tensor([1.0])
    step = captured.captured(add, (torch.tensor([5.0]), torch.tensor([7.0])), (total,))
    assert total.item() == 1  # the warm-up has no lasting effect
    assert step(torch.tensor([10.0]), torch.tensor([100.0])).item() == 1
    assert step(torch.tensor([20.0]), torch.tensor([200.0])).item() == 111
    assert total.item() == 331


def failing(work):
    work()
    raise RuntimeError("operation not permitted when stream is capturing")


def test_a_capture_that_fails_changes_nothing(monkeypatch):
    monkeypatch.setattr(captured, "capture", failing)
    total = torch.tensor([1.0])
    with pytest.raises(RuntimeError, match="capturing"):
        captured.captured(add, (torch.tensor([5.0]), torch.tensor([7.0])), (total,))
    assert total.item() == 1


def test_after_a_capture_that_fails_training_is_eager(monkeypatch):
    monkeypatch.setattr(compiled, "captured", lambda *_: failing(int))
    monkeypatch.setattr(CompiledUpdate, "_compile", lambda self, buffer: None)
    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    policy, buffer = MLPPolicySL((4,), 3, True, size=8), ReplayBuffer()
    buffer.add([recording(20, True)])
    policy.optimizer  # noqa: B018  (made on the CPU)
    policy.device = SimpleNamespace(type="cuda")
    monkeypatch.setattr(CompiledUpdate, "_inputs", lambda self: ())
    with pytest.raises(CompileError, match="capturing"):
        CompiledUpdate(policy, 4).on(buffer, buffer.batch)


@pytest.mark.gpu
@pytest.mark.parametrize("discrete", [True, False])
def test_on_a_gpu_captured_and_eager_training_agree(discrete):
    eager = MLPPolicySL((4,), 3, discrete, seed=3, learning_rate=1e-3, size=32)
    data = recording(500, discrete)
    fast = MLPPolicySL((4,), 3, discrete, seed=3, learning_rate=1e-3, size=32, device="cuda")
    buffer, on_gpu = ReplayBuffer(), ReplayBuffer(device="cuda")
    update = CompiledUpdate(fast, 64)
    for part in range(2):  # the second part has other storage
        more = [data, recording(1500, discrete, part + 1)]
        buffer.add(more)
        on_gpu.add(copy.deepcopy(more))
        step = update.on(on_gpu, on_gpu.batch)
        for rows in buffer.draws(64, np.random.default_rng(part), 100):
            expected = eager.update(*buffer.batch(rows))["Training Loss"]
            assert step(rows.cuda()) == pytest.approx(expected, rel=1e-3, abs=1e-4)
    for expected, found in zip(eager.state_dict().values(), fast.state_dict().values(), strict=True):
        torch.testing.assert_close(found.cpu(), expected, **{name: 10 * value for name, value in TOLERANCE.items()})
