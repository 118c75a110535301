"""Networks, heads, losses, activations and augmentations of the user's own."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from fakes import walk
from refusals import refusal
from test_mlp_policy import LABELS, OBS, same_weights, weights
from torch import nn

from rl_il.config import RunConfig
from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.infrastructure.augmentation import augment
from rl_il.infrastructure.gradient_steps import GradientSteps
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.policies.actors import NumpyActor
from rl_il.policies.base_policy import BasePolicy
from rl_il.policies.cnn_policy import CNNPolicySL, find_policy_class
from rl_il.policies.heads import Gaussian, Head
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.policies.policy_file import load_policy
from rl_il.types import Batch


def normed_network(features: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(features, 8), nn.GroupNorm(2, 8), nn.ReLU(), nn.Linear(8, outputs))


class Normed(MLPPolicySL):
    """A policy with its own network by the hook."""

    def build_network(self, features, outputs):
        return normed_network(features, outputs)


class Replaced(MLPPolicySL):
    """A policy whose network is replaced in the constructor."""

    def __init__(self, *settings, **named):
        super().__init__(*settings, **named)
        self.head.network = normed_network(self.encoder.n_features, 3)


class Early(MLPPolicySL):
    """A policy whose network is made before the constructor of its parent runs."""

    def __init__(self, *settings, **named):
        network = normed_network(2, 3)
        super().__init__(*settings, **named)
        self.head.network = network


@pytest.mark.parametrize("policy_class", [Normed, Replaced, Early])
def test_an_own_networks_weights_depend_on_the_seed_only(policy_class):
    before = torch.get_rng_state()
    made = []
    for seed in (5, 5, 6):
        torch.rand(7)  # the global generator must not matter
        made.append(weights(policy_class.for_env(make_env("Corridor-v0"), seed=seed)))
    assert "head.network.1.bias" in made[0] and made[0]["head.network.1.bias"].shape == (8,)
    assert same_weights(made[0], made[1]) and not same_weights(made[0], made[2])
    torch.set_rng_state(before)
    policy_class.for_env(make_env("Corridor-v0"))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("policy_class", [Normed, Replaced])
def test_an_own_network_learns_and_acts_in_torch(policy_class, tmp_path):
    policy = policy_class((2,), 3, True, learning_rate=0.05)
    labels = (OBS[:, 0] > 0).astype(np.int64)
    losses = [policy.update(OBS, labels)["Training Loss"] for _ in range(60)]
    assert losses[-1] < losses[0] / 4
    actor = policy.actor()
    assert type(actor) is policy_class
    np.testing.assert_array_equal(actor.get_action(OBS), policy.get_action(OBS))
    assert np.mean(actor.get_action(OBS) == labels) > 0.9
    policy.save(tmp_path / "policy.pt")
    np.testing.assert_array_equal(load_policy(tmp_path / "policy.pt").get_action(OBS), policy.get_action(OBS))


@pytest.mark.parametrize(
    ("network", "exact"),
    [
        (lambda n, m: nn.Sequential(nn.Linear(n, 8), nn.ELU(), nn.Linear(8, 8), nn.ELU(), nn.Linear(8, m)), True),
        (lambda n, m: nn.Sequential(nn.Linear(n, 8), nn.LeakyReLU(0.3), nn.Linear(8, m)), False),
        (lambda n, m: nn.Sequential(nn.Linear(n, 8), nn.Tanh(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, m)), False),
        (lambda n, m: nn.Sequential(nn.Linear(n, 8), nn.ReLU(), nn.Linear(8, m, bias=False)), False),
        (lambda n, m: nn.Sequential(nn.Linear(n, m), nn.Tanh()), False),
        (lambda n, m: nn.Linear(n, m), False),
    ],
)
def test_an_own_network_acts_in_numpy_only_if_the_copy_is_exact(network, exact):
    own = type("Own", (MLPPolicySL,), {"build_network": lambda self, n, m: network(n, m)})
    policy = own((2,), 3, False)
    actor = policy.actor()
    assert isinstance(actor, NumpyActor) is exact
    np.testing.assert_allclose(actor.get_action(OBS), policy.get_action(OBS), atol=1e-6)


class Ending(nn.Module):
    """A network that ends the process."""

    def forward(self, features):
        sys.exit(0)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (lambda n, m: None, "NoneType"),
        (lambda n, m: nn.Linear(n, m + 1), r"\(2, 4\).*\(2, 3\)"),
        (lambda n, m: nn.Linear(n + 1, m), r"\(2, 2\)"),
        (lambda n, m: Ending(), r"\(2, 2\).*SystemExit.*test_own_network.py, line"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(network, words):
    own = type("Own", (MLPPolicySL,), {"build_network": lambda self, n, m: network(n, m)})
    with pytest.raises(InputError, match=rf"Own\.build_network.*{words}"):
        own((2,), 3, True)


def test_the_network_is_checked_without_training_it_or_drawing_random_numbers():
    def network(n, m):
        return nn.Sequential(nn.Linear(n, 8), nn.BatchNorm1d(8), nn.Dropout(0.9), nn.Linear(8, m))

    own = type("Own", (MLPPolicySL,), {"build_network": lambda self, n, m: network(n, m)})
    policy = own((2,), 3, True)
    assert policy.head.network.training and not policy.head.network[1].num_batches_tracked
    batch = torch.from_numpy(OBS), torch.zeros(64, dtype=torch.int64)
    assert policy.validate(*batch) == policy.validate(*batch)  # without dropout
    assert policy.head.network.training and not policy.head.network[1].num_batches_tracked


# Names --------------------------------------------------------------------------------------------------------

MY_PARTS = '''
import torch
from torch import distributions, nn

from rl_il.policies.base_policy import BasePolicy
from rl_il.policies.cnn_policy import CNNPolicySL
from rl_il.policies.heads import DistributionHead
from rl_il.policies.mlp_policy import MLPPolicySL


class LayerNormPolicy(MLPPolicySL):
    def build_network(self, features, outputs):
        return nn.Sequential(nn.Linear(features, 8), nn.GroupNorm(2, 8), nn.ReLU(), nn.Linear(8, outputs))


class Loud(MLPPolicySL):
    """It acts as its parent does."""


class Pictures(CNNPolicySL):
    pass


class Laplace(DistributionHead):
    discrete, losses = False, ("nll", "mse")

    def __init__(self, *settings, **named):
        super().__init__(*settings, **named)
        self.log_scale = nn.Parameter(torch.zeros(self.ac_dim))

    def forward(self, features):
        return distributions.Independent(distributions.Laplace(self.network(features), self.log_scale.exp()), 1)


class Softplus(nn.Module):
    def forward(self, x):
        return nn.functional.softplus(x)


def doubled(distribution, labels):
    return 2 * (distribution.mean - labels).square().mean()


def black(obs, acs, rng):
    return torch.zeros_like(obs), acs


def run(*anything):
    raise AssertionError("a file called it")
'''


@pytest.fixture
def my_parts(tmp_path, monkeypatch):
    """Return the name of a module in the working folder, which no other test has imported."""
    name = f"my_parts_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(MY_PARTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield name
    sys.modules.pop(name, None)


def test_the_policy_class_of_an_environment(my_parts):
    vectors, pictures = make_env("Corridor-v0"), make_env("PictureCorridor-v0")
    assert find_policy_class(None, vectors) is MLPPolicySL and find_policy_class(None, pictures) is CNNPolicySL
    assert find_policy_class("MLPPolicySL", vectors) is MLPPolicySL
    assert find_policy_class(f"{my_parts}:LayerNormPolicy", vectors).__name__ == "LayerNormPolicy"
    assert find_policy_class(f"{my_parts}:Pictures", pictures).__name__ == "Pictures"
    for name, env, words in (
        (f"{my_parts}:Pictures", vectors, "no pictures.*MLPPolicySL"),
        (f"{my_parts}:LayerNormPolicy", pictures, "pictures.*CNNPolicySL"),
        (f"{my_parts}:Laplace", vectors, "MLPPolicySL"),
        (f"{my_parts}:doubled", vectors, "MLPPolicySL"),
        (f"{my_parts}:Nobody", vectors, "Nobody"),
        ("nowhere:Nobody", vectors, "nowhere"),
        ("Nobody", vectors, "MLPPolicySL.*CNNPolicySL"),
    ):
        with pytest.raises(InputError, match=words):
            find_policy_class(name, env)


def test_a_policy_of_a_module_is_opened_in_a_new_process_in_its_folder_only(my_parts, tmp_path):
    policy = find_policy_class(f"{my_parts}:LayerNormPolicy", make_env("Corridor-v0"))((2,), 3, True, seed=3)
    policy.save(tmp_path / "policy.pt")
    assert torch.load(tmp_path / "policy.pt", weights_only=True)["policy"] == f"{my_parts}:LayerNormPolicy"
    code = "import sys; from rl_il.policies.policy_file import load_policy; import numpy as np"
    code += f"; print(load_policy({str(tmp_path / 'policy.pt')!r}).get_action(np.ones((3, 2))).tolist())"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(policy.get_action(np.ones((3, 2))).tolist())
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "elsewhere", capture_output=True, text=True)
    message = done.stderr.strip().splitlines()[-1]
    assert "InputError" in message and my_parts in message and "policy.pt" in message


def test_a_subclass_that_acts_as_its_parent_is_saved_as_the_parent(my_parts, tmp_path):
    find_policy_class(f"{my_parts}:Loud", make_env("Corridor-v0"))((2,), 3, True).save(tmp_path / "policy.pt")
    assert torch.load(tmp_path / "policy.pt", weights_only=True)["policy"] == "MLPPolicySL"


def test_a_class_of_a_notebook_has_no_module(tmp_path, monkeypatch):
    monkeypatch.setattr(Normed, "__module__", "__main__")
    Normed((2,), 3, True).save(tmp_path / "policy.pt")
    assert type(load_policy(tmp_path / "policy.pt")) is Normed
    monkeypatch.delitem(BasePolicy.classes, "Normed")
    message = refusal(load_policy, tmp_path / "policy.pt")
    assert "Normed" in message and "--policy_class" in message


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("policy", "MODULE:run"),
        ("policy", "MODULE:Laplace"),
        ("policy", "os:system"),
        ("policy", "../evil:Name"),
        ("head", "MODULE:run"),
        ("head", "MODULE:Softplus"),
        ("activation", "MODULE:run"),
        ("activation", "os:abort"),
        ("loss", "MODULE:Nobody"),
    ],
)
def test_a_file_cannot_name_anything_but_a_class_of_the_right_kind(my_parts, tmp_path, part, value):
    MLPPolicySL((2,), 3, True).save(tmp_path / "policy.pt")
    content = torch.load(tmp_path / "policy.pt", weights_only=True)
    owner = content if part in content else content["hyperparameters"]
    owner[part] = value.replace("MODULE", my_parts)
    torch.save(content, tmp_path / "policy.pt")
    refusal(load_policy, tmp_path / "policy.pt")


def test_own_heads_losses_and_activations_by_name(my_parts, tmp_path):
    names = {"head": f"{my_parts}:Laplace", "loss": f"{my_parts}:doubled", "activation": f"{my_parts}:Softplus"}
    policy = MLPPolicySL((2,), 2, False, seed=1, **names)
    assert (policy.head_name, policy.loss_name) == (names["head"], names["loss"])
    obs, labels = torch.from_numpy(OBS[:2]), torch.from_numpy(LABELS)
    mse = MLPPolicySL((2,), 2, False, seed=1, **names | {"loss": "mse"})
    torch.testing.assert_close(policy.loss(obs, labels), 2 * mse.loss(obs, labels))
    policy.update(obs, labels)
    actor = policy.actor()
    assert type(actor) is MLPPolicySL  # an own activation has no copy in NumPy
    np.testing.assert_array_equal(actor.get_action(OBS), policy.get_action(OBS))
    policy.save(tmp_path / "policy.pt")
    loaded = load_policy(tmp_path / "policy.pt")
    assert same_weights(weights(loaded), weights(policy)) and loaded.hyperparameters() == policy.hyperparameters()


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("head", "MODULE:doubled"),
        ("head", "MODULE:Nobody"),
        ("head", "fuzzy"),
        ("head", "MODULE:Laplace"),  # the policy's actions are discrete
        ("loss", "MODULE:Nobody"),
        ("loss", "huber"),
        ("activation", "MODULE:doubled"),
        ("activation", "wavy"),
    ],
)
def test_own_parts_that_do_not_fit_are_refused(my_parts, part, name):
    name = name.replace("MODULE", my_parts)
    with pytest.raises(InputError, match=name):
        MLPPolicySL((2,), 2, True, **{part: name})


class WithoutDistribution(Head):
    discrete, losses = False, ("error",)

    def loss(self, features, labels, noise=None):
        return (self.network(features) - labels).square().mean()

    def act(self, features, rng):
        return self.network(features)


def test_an_own_loss_needs_a_distribution(my_parts):
    own = f"{__name__}:WithoutDistribution"
    assert MLPPolicySL((2,), 2, False, head=own).loss_name == "error"
    with pytest.raises(InputError, match="doubled"):
        MLPPolicySL((2,), 2, False, head=own, loss=f"{my_parts}:doubled")
    assert MLPPolicySL((2,), 2, False, loss=f"{my_parts}:doubled").head.supports("mse")
    assert not Gaussian.supports(MLPPolicySL((2,), 2, False).head, "huber")


def test_an_own_augmentation_by_name(my_parts):
    batch = Batch(torch.ones(2, 4, 4, 1, dtype=torch.uint8), torch.ones(2, 1))
    changed = augment(batch, [f"{my_parts}:black", "brightness"], np.random.default_rng(0))
    assert not changed.obs.any() and torch.equal(changed.acs, batch.acs)


class Dropped(MLPPolicySL):
    """A policy with dropout."""

    def build_network(self, features, outputs):
        return nn.Sequential(nn.Linear(features, 32), nn.Dropout(0.5), nn.Linear(32, outputs))


def test_dropout_depends_on_the_seed_of_the_run_and_is_not_used_to_act():
    buffer = ReplayBuffer()
    buffer.add([walk(9)])
    trained = []
    for seed in (1, 1, 2):
        torch.rand(7)  # the global generator must not matter
        policy = Dropped.for_env(make_env("Corridor-v0"), seed=0)
        steps = GradientSteps(RunConfig(seed=seed), policy, buffer, compiles=False)
        steps([torch.arange(9)] * 3, itr=0, first_step=0)
        trained.append(weights(policy))
    assert same_weights(trained[0], trained[1]) and not same_weights(trained[0], trained[2])
    obs = np.random.default_rng(0).normal(size=(200, 2))
    np.testing.assert_array_equal(policy.get_action(obs), policy.get_action(obs))
    np.testing.assert_array_equal(policy.get_action(obs), policy.actor().get_action(obs))
    assert policy.training


def test_a_network_with_a_hook_acts_in_torch():
    policy = MLPPolicySL((2,), 3, True, seed=1)
    policy.head.network[0].register_forward_hook(lambda module, inputs, output: -output)
    np.testing.assert_array_equal(policy.actor().get_action(OBS), policy.get_action(OBS))
    assert not isinstance(policy.actor(), NumpyActor)
