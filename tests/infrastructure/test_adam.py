import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from rl_il.policies.adam import AdamW


def train(network, optimizer, steps=30):
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randn(16, 3, generator=generator)
        optimizer.zero_grad()
        (network(x) - x.sin().sum(1, keepdim=True)).square().mean().backward()
        optimizer.step()


def build():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_it_equals_torchs_adamw_to_the_last_digit(weight_decay):
    ours, theirs = build(), build()
    train(ours, AdamW(ours.parameters(), 0.02, weight_decay))
    train(theirs, torch.optim.AdamW(theirs.parameters(), lr=0.02, weight_decay=weight_decay, fused=True))
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))


def test_a_parameter_without_a_gradient_does_not_change():
    used, unused = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    optimizer = AdamW([unused, used], 0.5, weight_decay=0.1)
    used.sum().backward()
    optimizer.step()
    assert unused.tolist() == [1, 1]
    assert used.tolist() != [1, 1]
    assert [count.item() for count in optimizer.counts] == [0, 1]


def test_packing_changes_nothing():
    plain, packed = build(), build()
    plain_adam, packed_adam = AdamW(plain.parameters(), 0.02, 0.1), AdamW(packed.parameters(), 0.02, 0.1)
    for _ in range(3):
        train(plain, plain_adam, 5)
        train(packed, packed_adam, 5)
        whole, first, second, counts = packed_adam.pack([0, 1, 2, 3])
        assert torch.equal(whole, torch.cat([p.detach().reshape(-1) for p in plain.parameters()]))
        assert torch.equal(first, torch.cat([m.reshape(-1) for m in plain_adam.first_moments]))
        assert torch.equal(second, torch.cat([m.reshape(-1) for m in plain_adam.second_moments]))
        assert torch.equal(counts, torch.stack(plain_adam.counts))
    twin = copy.deepcopy(packed)
    whole.zero_()  # the packed tensor and the parameters share memory, but a copy does not
    assert all((p == 0).all() for p in packed.parameters())
    assert not any((p == 0).all() for p in twin.parameters())


def test_a_step_does_not_import_the_compiler():
    code = """
import sys, torch
from rl_il.policies.adam import AdamW
x = torch.ones(2, requires_grad=True)
optimizer = AdamW([x], 0.1)
x.sum().backward()
optimizer.step()
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
