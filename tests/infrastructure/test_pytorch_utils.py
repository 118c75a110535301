import pytest
import torch
from torch import nn

from rl_il.errors import InputError
from rl_il.infrastructure.pytorch_utils import build_mlp, pick_device, without_denormals


@pytest.mark.parametrize(
    ("n_layers", "sizes"), [(0, [(5, 3)]), (1, [(5, 7), (7, 3)]), (3, [(5, 7), (7, 7), (7, 7), (7, 3)])]
)
@pytest.mark.parametrize(
    ("name", "activation"),
    [("tanh", nn.Tanh), ("relu", nn.ReLU), ("leaky_relu", nn.LeakyReLU), ("elu", nn.ELU), ("sigmoid", nn.Sigmoid)],
)
def test_mlp_has_the_layers_asked_for(n_layers, sizes, name, activation):
    network = build_mlp(5, 3, n_layers, size=7, activation=name)
    assert [(layer.in_features, layer.out_features) for layer in network[::2]] == sizes
    assert [type(module) for module in network] == [nn.Linear, activation] * n_layers + [nn.Linear]


def test_the_cpu_is_the_default(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for settings in ({}, {"device": "cpu"}, {"pictures": True}):
        assert pick_device(**settings) == torch.device("cpu")
    with pytest.raises(InputError, match="--device cuda"):
        pick_device("cuda")


def test_a_gpu_that_does_not_exist_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda", 1) == pick_device("auto", 1, pictures=True) == torch.device("cuda", 1)
    with pytest.raises(InputError, match="--which_gpu 2"):
        pick_device("cuda", 2)


def test_tiny_numbers_are_0_only_in_the_block():
    tiny = torch.tensor(1e-40)
    assert tiny * 1 != 0
    with without_denormals():
        assert tiny * 1 == 0
        with without_denormals():
            pass
        assert tiny * 1 == 0
    assert tiny * 1 != 0
