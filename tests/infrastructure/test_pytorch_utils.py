import numpy as np
import pytest
import torch
from torch import nn

from rl_il import config
from rl_il.errors import InputError
from rl_il.infrastructure import pytorch_utils
from rl_il.infrastructure.pytorch_utils import build_mlp, pick_device, seeded_weights, to_numpy, to_tensor
from rl_il.policies import actors


@pytest.mark.parametrize(
    ("n_layers", "sizes"), [(0, [(5, 3)]), (1, [(5, 7), (7, 3)]), (3, [(5, 7), (7, 7), (7, 7), (7, 3)])]
)
def test_mlp_has_the_layers_asked_for(n_layers, sizes):
    network = build_mlp(5, 3, n_layers, size=7, activation="relu")
    linear = [module for module in network if isinstance(module, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == sizes
    assert [type(module) for module in network] == [nn.Linear, nn.ReLU] * n_layers + [nn.Linear]


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("tanh", nn.Tanh),
        ("relu", nn.ReLU),
        ("leaky_relu", nn.LeakyReLU),
        ("elu", nn.ELU),
        ("sigmoid", nn.Sigmoid),
    ],
)
def test_mlp_has_the_activation_asked_for(name, module):
    assert type(build_mlp(1, 1, 1, 1, name)[1]) is module


def test_activations_are_the_same_in_config_torch_and_numpy():
    assert set(config.ACTIVATIONS) == set(pytorch_utils.ACTIVATIONS) == set(actors.ACTIVATIONS)


def test_seeded_weights_leave_the_global_generator_as_it_was():
    before = torch.get_rng_state()
    with seeded_weights(7):
        torch.rand(10)
    assert torch.equal(torch.get_rng_state(), before)


def test_seeded_weights_follow_from_the_seed():
    def draw(seed):
        with seeded_weights(seed):
            return torch.rand(4)

    first = draw(1)
    torch.rand(3)
    assert torch.equal(draw(1), first)
    assert not torch.equal(draw(2), first)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.float64, torch.float32),
        (np.float32, torch.float32),
        (np.int64, torch.int64),
        (np.uint8, torch.uint8),
        (np.bool_, torch.bool),
    ],
)
def test_to_tensor_changes_double_precision_only(dtype, expected):
    array = np.array([[0, 1], [1, 0]], dtype)
    tensor = to_tensor(array, torch.device("cpu"))
    assert tensor.dtype == expected
    np.testing.assert_array_equal(tensor.numpy(), array)


def test_to_tensor_takes_tensors():
    assert to_tensor(torch.ones(2, dtype=torch.float64), torch.device("cpu")).dtype == torch.float32


def test_to_numpy_drops_the_gradient():
    np.testing.assert_array_equal(to_numpy(torch.ones(2, requires_grad=True) * 3), [3, 3])


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_the_cpu_is_the_default(device):
    assert pick_device(device) == torch.device("cpu")


def test_cuda_without_a_gpu_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"no GPU.*--device cpu"):
        pick_device("cuda")


def test_a_gpu_that_does_not_exist_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert pick_device("cuda", 1) == torch.device("cuda", 1)
    with pytest.raises(InputError, match="--which_gpu 2"):
        pick_device("cuda", 2)
