import numpy as np
import pytest
import torch

from rl_il import plugins
from rl_il.errors import InputError
from rl_il.infrastructure.augmentation import BRIGHTNESS, SHIFT, augment, brightness, flip_steer, noise, shift
from rl_il.types import Batch

LABELS = torch.tensor([[0.5, 1.0, 0.0], [-0.25, 0.0, 1.0], [0.0, 0.5, 0.5], [1.0, 0.0, 0.0]])


def pictures(channels: int = 1) -> torch.Tensor:
    """Return four stacks of two pictures of 12 x 20. All pixels of the first picture differ."""
    numbers = torch.arange(4 * 2 * 12 * 20 * channels).reshape(4, 2, 12, 20, channels)
    return (numbers % 240).to(torch.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_shift_moves_a_rows_pictures_and_repeats_the_edge(channels):
    before = pictures(channels)
    obs, acs = shift(before, LABELS, np.random.default_rng(0))
    moves = np.random.default_rng(0).integers(2 * SHIFT + 1, size=(4, 2)) - SHIFT
    assert len({*map(tuple, moves)}) > 1
    for i, (down, right) in enumerate(moves):
        rows = np.clip(np.arange(12) + down, 0, 11)
        columns = np.clip(np.arange(20) + right, 0, 19)
        np.testing.assert_array_equal(obs[i], before[i][:, rows][:, :, columns])
    assert torch.equal(acs, LABELS) and obs.dtype == torch.uint8


def test_brightness_scales_a_rows_pictures_within_bytes():
    before = pictures()
    obs, acs = brightness(before, LABELS, np.random.default_rng(1))
    factors = np.random.default_rng(1).uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS, 4).astype(np.float32)
    expected = np.clip(before.numpy() * factors[:, None, None, None, None], 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(obs, expected)
    assert expected.max() == 255  # some would have been above it
    assert torch.equal(acs, LABELS) and obs.dtype == torch.uint8


def test_a_mirrored_row_steers_in_the_other_direction():
    before = pictures()
    obs, acs = flip_steer(before, LABELS, np.random.default_rng(2))
    mirrored = np.random.default_rng(2).random(4) < 0.5
    assert 0 < mirrored.sum() < 4
    for i in range(4):
        np.testing.assert_array_equal(obs[i], before[i].flip(-2) if mirrored[i] else before[i])
        np.testing.assert_array_equal(acs[i], LABELS[i] * torch.tensor([-1.0 if mirrored[i] else 1.0, 1, 1]))


def test_several_are_applied_in_order_and_the_buffer_does_not_change():
    before, labels = pictures(), LABELS.clone()
    kept = before.clone()
    batch = augment(Batch(before, labels, "noise"), ["flip_steer", "shift"], np.random.default_rng(3))
    rng = np.random.default_rng(3)
    obs, acs = shift(*flip_steer(kept, LABELS, rng), rng)
    assert torch.equal(batch.obs, obs) and torch.equal(batch.acs, acs) and batch.noise == "noise"
    assert torch.equal(before, kept) and torch.equal(labels, LABELS)


@pytest.mark.parametrize("name", sorted(plugins.AUGMENTATIONS.keys() - {"noise"}))
def test_single_pictures_are_changed_like_stacks(name):
    stacked = augment(Batch(pictures(), LABELS), [name], np.random.default_rng(4))
    single = augment(Batch(pictures()[:, 0], LABELS), [name], np.random.default_rng(4))
    assert torch.equal(single.obs, stacked.obs[:, 0]) and torch.equal(single.acs, stacked.acs)


def test_augmented_pictures_lie_in_memory_as_those_before():
    batch = Batch(pictures(channels=3), LABELS)
    obs, acs, _ = augment(batch, ["shift", "flip_steer"], np.random.default_rng(0))
    assert (obs.stride(), acs.stride()) == (batch.obs.stride(), batch.acs.stride())  # a compiled step relies on it


@pytest.mark.parametrize("change", [lambda obs: obs.float() / 255, lambda obs: obs[:, :1]])
def test_an_augmentation_that_changes_the_type_or_the_shape_is_an_error(change, monkeypatch):
    monkeypatch.setattr(f"{__name__}.CHANGE", change)
    monkeypatch.setitem(plugins.AUGMENTATIONS, "odd", f"{__name__}:odd")
    with pytest.raises(InputError, match="--augment odd"):
        augment(Batch(pictures(), LABELS), ["odd"], np.random.default_rng(0))


CHANGE = None


def odd(obs, acs, rng):
    return CHANGE(obs), acs


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_noise_has_the_standard_deviation_of_each_number(dtype):
    before, labels = torch.full((2000, 3), 5, dtype=dtype), torch.zeros(2000, 1)
    obs, acs, _ = augment(Batch(before, labels), ["noise"], np.random.default_rng(5), torch.tensor([0.0, 1.0, 20.0]))
    expected = 5 + np.random.default_rng(5).standard_normal((2000, 3), np.float32) * np.float32([0, 1, 20])
    np.testing.assert_allclose(obs, expected, rtol=1e-6)
    assert obs.std(dim=0).numpy() == pytest.approx([0, 1, 20], rel=0.05)
    assert torch.equal(acs, labels) and (before == 5).all()


def test_noise_of_stacked_observations_differs_between_them():
    obs, _ = noise(torch.zeros(4, 2, 3), LABELS, np.random.default_rng(6), torch.ones(3))
    assert len({*obs.reshape(-1).tolist()}) == 24
