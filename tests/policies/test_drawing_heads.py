"""The heads `mixture` and `flow`: their losses and actions by hand, their files, and their copies in NumPy."""

import math

import numpy as np
import pytest
import torch
from calling import assert_refused, call_script
from fakes import COMBINATIONS
from gymnasium.spaces import Box

from rl_il.config import RunConfig
from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.infrastructure.compiled import CompiledUpdate
from rl_il.infrastructure.evaluation import agreement
from rl_il.infrastructure.pytorch_utils import build_mlp
from rl_il.infrastructure.replay_buffer import ReplayBuffer, with_noise
from rl_il.infrastructure.rollouts import sample_trajectory
from rl_il.plugins import ACTIVATIONS
from rl_il.policies.actors import ScriptedActor
from rl_il.policies.cnn_policy import CNNPolicySL
from rl_il.policies.drawing_actors import DrawingActor, FlowActor, MixtureActor
from rl_il.policies.flow import Flow
from rl_il.policies.mixture import LOG_STD_RANGE, Mixture
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.policies.policy_file import load_policy
from rl_il.runs.parts import build_policy
from rl_il.types import ActionForm, Trajectory

HEADS = {"mixture": Mixture, "flow": Flow}
OBS = np.random.default_rng(0).normal(2, 3, size=(64, 4)).astype(np.float32)
STD_1 = math.log(2)  # the output for a standard deviation of 1: the sigmoid is 2/3, and -4 + 6 * 2/3 = 0
STD_1_BY_E = 0.0  # -4 + 6 / 2 = -1


def linear(weights: list[list[float]], bias: list[float]):
    """Return what a head takes to make a network: a linear layer with these weights, which are `(out, in)`."""

    def build_network(outputs: int, extra_inputs: int = 0) -> torch.nn.Module:
        layer = torch.nn.Linear(1 + extra_inputs, outputs)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(weights))
            layer.bias.copy_(torch.tensor(bias))
        return torch.nn.Sequential(layer)

    return build_network


def constant_mixture(outputs: list[float], ac_dim: int = 1, **settings) -> Mixture:
    """Return a mixture whose network returns `outputs` for every feature."""
    return Mixture(linear([[0.0]] * len(outputs), outputs), ac_dim, **settings)


def normal(x: float, mean: float, std: float) -> float:
    return math.exp(-(((x - mean) / std) ** 2) / 2) / (std * math.sqrt(2 * math.pi))


# The mixture ---------------------------------------------------------------------------------------------

TWO_MODES = [math.log(0.25), math.log(0.75), -1.0, 3.0, STD_1, STD_1_BY_E]


def test_the_likelihood_of_two_gaussians_by_hand():
    head = constant_mixture(TWO_MODES, modes=2)
    by_hand = [0.25 * normal(x, -1, 1) + 0.75 * normal(x, 3, 1 / math.e) for x in (0.5, 2.5)]
    labels = torch.tensor([[0.5], [2.5]])
    torch.testing.assert_close(head.log_likelihood(torch.zeros(2, 1), labels), torch.tensor(by_hand).log())
    assert head.loss(torch.zeros(2, 1), labels).item() == pytest.approx(-sum(map(math.log, by_hand)) / 2, rel=1e-5)


def test_a_gaussian_is_over_the_whole_chunk_and_the_loss_is_per_number():
    means = [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]]  # two modes; chunks of two actions of two numbers
    head = constant_mixture([0.0, 0.0, *means[0], *means[1], *[STD_1] * 8], ac_dim=2, chunk=2, modes=2)
    label = torch.tensor([[[0.0, 1.0], [2.0, 4.0]]])
    joint = [math.prod(normal(x, mean, 1) for x, mean in zip((0, 1, 2, 4), each, strict=True)) for each in means]
    assert head.loss(torch.zeros(1, 1), label).item() == pytest.approx(-math.log(sum(joint) / 2) / 4, rel=1e-5)
    chunks = head.act(torch.zeros(50, 1), torch.Generator().manual_seed(0))
    assert chunks.shape == (50, 2, 2) and {tuple(each) for each in chunks.flatten(1).tolist()} == {*map(tuple, means)}


def test_act_returns_means_and_sample_draws_around_them():
    head, rng = constant_mixture(TWO_MODES, modes=2), torch.Generator().manual_seed(1)
    acs = head.act(torch.zeros(20_000, 1), rng)
    assert acs.shape == (20_000, 1) and {*acs[:, 0].tolist()} == {-1.0, 3.0}
    assert (acs == 3).float().mean().item() == pytest.approx(0.75, abs=0.01)
    drawn = head.sample(torch.zeros(20_000, 1), rng)
    near = drawn > 1.5  # 2.5 standard deviations above one mean, 4 below the other
    assert drawn.shape == acs.shape and near.float().mean().item() == pytest.approx(0.75, abs=0.01)
    assert drawn[near].std().item() == pytest.approx(1 / math.e, abs=0.02)


@pytest.mark.parametrize(("output", "end"), [(-200.0, 0), (200.0, 1)])
def test_standard_deviations_stay_in_their_range(output, end):
    head = constant_mixture([0.0, 1.0, output], modes=1)
    torch.testing.assert_close(head(torch.zeros(1, 1))[2], torch.full((1, 1, 1), LOG_STD_RANGE[end]))
    by_hand = normal(1.5, 1, math.exp(LOG_STD_RANGE[end]))
    assert head.loss(torch.zeros(1, 1), torch.full((1, 1), 1.5)).item() == pytest.approx(-math.log(by_hand), rel=1e-4)


@pytest.mark.parametrize("output", [-9.0, 9.0])
def test_a_standard_deviation_can_leave_the_end_of_its_range(output):
    head = constant_mixture([0.0, 0.0, output], modes=1)
    label = torch.full((1, 1), 3.0 if output < 0 else 0.0)  # far from a narrow Gaussian, in the middle of a wide one
    head.loss(torch.zeros(1, 1), label).backward()
    assert head.network[0].bias.grad[2].item() * output > 0  # a step moves it towards 0


# The flow ------------------------------------------------------------------------------------------------


def test_the_flows_loss_by_hand():
    head = Flow(linear([[0.0, 1.0, 1.0]], [0.0]), 1)  # the velocity is x + t
    noise = torch.tensor([[1.0, 0.0], [1.0, 40.0], [1.0, -40.0]])  # times 1/2, 1 and 0
    errors = [2 + 0.5 - 2, 3 + 1 - 2, 1 + 0 - 2]  # at x = 2, 3 and 1; the velocity of the path from 1 to 3 is 2
    loss = head.loss(torch.zeros(3, 1), torch.full((3, 1), 3.0), noise)
    assert head.noise_shape == (2,) and loss.item() == pytest.approx(sum(each**2 for each in errors) / 3)


def test_the_times_of_the_loss_are_uniform():
    seen = []
    head = Flow(linear([[0.0, 0.0, 0.0]], [0.0]), 1)
    head.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][:, 2]))
    head.loss(torch.zeros(20_000, 1), torch.zeros(20_000, 1), torch.randn(20_000, 2))
    np.testing.assert_allclose(np.histogram(seen[0], 10, (0, 1))[0] / 20_000, 0.1, atol=0.01)


def test_the_steps_of_euler_by_hand():
    features = torch.tensor([[0.0], [1.0]])
    start = torch.tensor([[2.0], [-3.0]])
    decays = Flow(linear([[3.0, -0.5, 0.0]], [0.25]), 1, flow_steps=4)  # the velocity is 3 feature - x / 2 + 1 / 4
    constant = torch.tensor([[0.25], [3.25]])
    x = start
    for _ in range(4):
        x = x + (constant - x / 2) / 4
    torch.testing.assert_close(decays.decide(features, start), x)
    torch.testing.assert_close(x, 2 * constant + (start - 2 * constant) * (1 - 1 / 8) ** 4)
    grows = Flow(linear([[0.0, 0.0, 6.0]], [0.0]), 1, flow_steps=3)  # the velocity is 6 t, at times 0, 1/3, 2/3
    torch.testing.assert_close(grows.decide(features, start), start + 2)


def test_each_number_of_a_chunk_has_its_own_noise_and_velocity():
    head = Flow(linear([[0.0] * 6] * 4, [1.0, 2.0, 3.0, 4.0]), 2, chunk=2, flow_steps=5)
    chunks = head.act(torch.zeros(3, 1), torch.Generator().manual_seed(0))
    start = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(chunks, (start + torch.tensor([1.0, 2.0, 3.0, 4.0])).reshape(3, 2, 2))
    assert head.noise_shape == (5,) and start.unique().numel() == 12


# Both ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("head", "steps"), [("gaussian", 100), ("mixture", 300), ("flow", 600)])
def test_two_good_actions_in_one_state(head, steps):
    rng, settings = np.random.default_rng(0), {"modes": 2} if head == "mixture" else {}
    policy = MLPPolicySL((2,), 1, False, head=head, size=32, activation="relu", seed=1, **settings)
    for _ in range(steps):
        labels = rng.choice([-1, 1], (64, 1)).astype(np.float32)
        noise = rng.standard_normal((64, *policy.noise_shape), np.float32) if policy.noise_shape else None
        policy.update(np.zeros((64, 2), np.float32), labels, noise)
    for actor in (policy, policy.actor()):
        actor.reset(0)
        acs = actor.get_action(np.zeros((200, 2), np.float32))
        if head == "gaussian":
            assert np.abs(acs).max() < 0.3
        else:
            assert (np.abs(np.abs(acs) - 1) < 0.3).mean() > 0.9 and 0.3 < (acs > 0).mean() < 0.7


def trained(head: str, obs: np.ndarray = OBS, **settings) -> MLPPolicySL:
    """Return a policy of two continuous numbers after a few steps, and after its observations are standardised."""
    policy = MLPPolicySL(obs.shape[1:], 2, False, head=head, size=16, seed=5, **settings)
    policy.fit_normalization(obs)
    rng = np.random.default_rng(1)
    labels, noise = (rng.standard_normal((len(obs), *shape), np.float32) for shape in ((2,), policy.noise_shape))
    for _ in range(5):
        policy.update(obs, labels, noise)
    return policy


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_copy_in_numpy_decides_the_same(head, activation):
    policy = trained(head, activation=activation)
    actor = policy.actor()
    assert type(actor) is policy.head.numpy_actor
    rng = torch.Generator().manual_seed(0)
    draws = policy.head.draw(len(OBS), rng)
    with torch.no_grad():
        expected = policy.head.decide(policy.encoder(torch.from_numpy(OBS)), draws).numpy()
    draws = draws.numpy()
    np.testing.assert_allclose(actor.decide(OBS, draws), expected, atol=1e-5)
    one_by_one = [actor.decide(ob, each) for ob, each in zip(OBS, draws, strict=True)]
    np.testing.assert_allclose(one_by_one, expected, atol=1e-5)
    assert expected.std() > 0.1 and actor.draw(()).shape == draws[0].shape and actor.draw((64,)).shape == draws.shape
    assert actor.get_action(OBS[0]).dtype == actor.get_action(OBS).dtype == np.float32


@pytest.mark.parametrize("head", HEADS)
def test_the_copy_in_numpy_plans_whole_chunks(head):
    made = HEADS[head](lambda outputs, extra_inputs=0: build_mlp(4 + extra_inputs, outputs, 1, 8, "tanh"), 2, chunk=3)
    actor = made.numpy_actor(ob_shape=(2, 2), form=ActionForm((), (6,)), **made.numpy_settings())
    obs, draws = OBS.reshape(64, 2, 2), made.draw(64, torch.Generator().manual_seed(0))
    expected = made.decide(torch.from_numpy(OBS), draws).detach().numpy()
    np.testing.assert_allclose(actor.decide(obs, draws.numpy()), expected, atol=1e-5)
    assert actor.get_action(obs[0]).shape == (6,) and actor.get_action(obs).shape == (64, 6)


@pytest.mark.parametrize("head", HEADS)
def test_the_copy_in_numpy_undoes_standardised_actions(head):
    policy, form = trained(head), ActionForm((), (2,))
    scale, center = np.array([2.0, 30.0]), np.array([-1.0, 5.0])
    settings = {"ob_shape": (4,), "form": form} | policy.encoder.numpy_settings() | policy.head.numpy_settings()
    actor = policy.head.numpy_actor(**settings, action_scale=scale, action_center=center)
    np.testing.assert_allclose(actor.get_action(OBS), policy.actor().get_action(OBS) * scale + center, rtol=1e-5)
    assert actor.get_action(OBS).dtype == np.float32


@pytest.mark.parametrize("head", HEADS)
def test_a_drawn_plan_is_carried_out_before_the_next_one_is_drawn(head, tmp_path):
    policy = MLPPolicySL((4,), 2, False, head=head, size=8, chunk=3, execute=2)
    policy.save(tmp_path / "policy.pt")
    for actor in (policy, policy.actor(), load_policy(tmp_path / "policy.pt").actor()):
        actor.reset(1)
        acs = np.array([actor.get_action(OBS[0]) for _ in range(6)])
        assert acs.shape == (6, 2) and len({*map(tuple, acs.tolist())}) > 2  # the state is the same: it draws
        actor.reset(1)
        np.testing.assert_array_equal([actor.get_action(OBS[0]) for _ in range(6)], acs)
        assert actor.get_action(OBS).shape == (64, 2)
    labels = np.random.default_rng(0).normal(size=(64, 3, 2)).astype(np.float32)
    policy.update(OBS, labels, np.ones((64, *policy.noise_shape), np.float32))


@pytest.mark.parametrize("head", HEADS)
def test_a_head_takes_features_of_pictures(head, tmp_path):
    policy = CNNPolicySL((36, 36, 3), 2, False, head=head, size=8, n_layers=1, learning_rate=1e-3)
    pictures = np.random.default_rng(0).integers(256, size=(8, 4, 36, 36, 1)).astype(np.uint8)
    batch = pictures, np.ones((8, 2), np.float32), np.zeros((8, *policy.noise_shape), np.float32)
    losses = [policy.update(*batch)["Training Loss"] for _ in range(10)]
    assert losses[-1] < losses[0]
    policy.save(tmp_path / "policy.pt")
    for actor in (policy, policy.actor(), load_policy(tmp_path / "policy.pt")):
        actor.reset(2)
        acs = [actor.get_action(np.zeros((36, 36, 3), np.uint8)).tolist() for _ in range(9)]
        actor.reset(2)
        assert [actor.get_action(np.zeros((36, 36, 3), np.uint8)).tolist() for _ in range(9)] == acs
        assert len({*map(tuple, acs)}) > 1


class Louder(Mixture):
    """A mixture that acts differently and has no copy in NumPy."""

    def decide(self, features, draws):
        return 2 * super().decide(features, draws)


def test_a_subclass_that_decides_otherwise_acts_in_torch():
    policy = MLPPolicySL((4,), 2, False, head=f"{__name__}:Louder", modes=1)
    plain = MLPPolicySL((4,), 2, False, head="mixture", modes=1)
    assert isinstance(plain.actor(), MixtureActor) and not isinstance(policy.actor(), DrawingActor)
    np.testing.assert_allclose(policy.actor().get_action(OBS), 2 * plain.actor().get_action(OBS), atol=1e-5)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", [name for name, space in COMBINATIONS.items() if isinstance(space, Box)])
def test_it_acts_in_spaces_of_other_shapes(head, name):
    env = make_env(name)
    policy = MLPPolicySL.for_env(env, head=head, size=8)
    obs = np.stack([env.reset(seed=seed)[0] for seed in range(3)])
    for actor in (policy, policy.actor()):
        assert actor.get_action(obs).shape == (3, *env.action_space.shape) == (3, *actor.form.shape)
        assert actor.get_action(obs[0]).shape == env.action_space.shape
    assert isinstance(policy.actor(), DrawingActor)


@pytest.mark.parametrize(("head", "setting"), [("mixture", {"modes": 3}), ("flow", {"flow_steps": 4})])
def test_a_file_holds_the_heads_setting(head, setting, tmp_path):
    policy = trained(head, **setting)
    policy.save(tmp_path / "policy.pt")
    loaded = load_policy(tmp_path / "policy.pt")
    assert (loaded.head_name, loaded.loss_name) == (head, policy.loss_name)
    assert (
        loaded.hyperparameters() == policy.hyperparameters() and policy.hyperparameters().items() >= setting.items()
    )
    for one, other in ((policy, loaded), (policy.actor(), loaded.actor())):
        one.reset(3)
        other.reset(3)
        np.testing.assert_array_equal(one.get_action(OBS), other.get_action(OBS))


@pytest.mark.parametrize("head", HEADS)
def test_draws_follow_from_the_seed_of_the_episode(head):
    policy = trained(head, modes=64) if head == "mixture" else trained(head)
    for actor in (policy, policy.actor()):
        episodes = []
        for seed in (1, 2, 1):
            actor.reset(seed)
            episodes.append([actor.get_action(OBS[0]).tolist() for _ in range(5)])
        assert episodes[0] == episodes[2] != episodes[1]
        assert len({*map(tuple, episodes[0])}) > 1


@pytest.mark.parametrize("head", HEADS)
def test_agreement_does_not_depend_on_earlier_draws(head):
    env, expert = make_env("CorridorContinuous-v0"), ScriptedActor(lambda obs: np.zeros((len(obs), 2)), (2,))
    policy = trained(head, OBS[:, :2])
    actor, fresh = policy.actor(), policy.actor()
    episodes = [sample_trajectory(env, actor, seed) for seed in (1, 2)]
    found = agreement(actor, expert, episodes, discrete=False)
    assert found == agreement(fresh, expert, episodes, discrete=False) and found["Eval_ExpertDistance"] > 0
    np.testing.assert_array_equal(sample_trajectory(env, actor, 1).acs, episodes[0].acs)


def test_validation_uses_the_noise_and_draws_of_its_seed():
    for head in HEADS:
        policy, noise = trained(head), np.random.default_rng(0)
        labels = torch.from_numpy(noise.standard_normal((64, 2), np.float32))
        noise = torch.from_numpy(noise.standard_normal((64, *policy.noise_shape), np.float32))
        found = []
        for seed in (0, 0, 1):
            policy.reset(seed)
            found.append(policy.validate(torch.from_numpy(OBS), labels, noise))
        assert found[0] == found[1] and found[0]["Validation MAE"] != found[2]["Validation MAE"]
        assert found[0]["Validation Loss"] == policy.loss(torch.from_numpy(OBS), labels, noise).item()


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
def test_the_compiled_step_computes_the_same_also_for_chunks(head):
    settings = {"size": 32, "seed": 3, "learning_rate": 1e-3, "chunk": 3}
    eager, fast = (MLPPolicySL((4,), 3, False, head=head, **settings) for _ in range(2))
    rng, buffer = np.random.default_rng(0), ReplayBuffer(chunk=3)
    buffer.add([Trajectory(np.append(OBS, OBS[:1], axis=0), rng.normal(size=(64, 3)).astype("f4"), np.zeros(64))])
    rows = next(buffer.in_order(62))
    batches = [with_noise(buffer.batch(rows), eager.noise_shape, rng) for _ in range(200)]
    left = iter([batches[0], *batches])  # the first one is the example with which the step is prepared
    step = CompiledUpdate(fast, 62).on(buffer, lambda rows: next(left))
    for batch in batches:
        assert step(rows).item() == pytest.approx(eager.update(*batch)["Training Loss"], abs=1e-5)
    for first, second in zip(eager.state_dict().values(), fast.state_dict().values(), strict=True):
        torch.testing.assert_close(second, first, rtol=1e-5, atol=1e-5)


# Mistakes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("settings", [(3, True), ((2, 3), True)], ids=["one integer", "several"])
def test_integers_are_refused(head, settings):
    with pytest.raises(InputError) as error:
        MLPPolicySL((2,), *settings, head=head)
    assert str(error.value).startswith(f"--head {head} does not fit") and "categorical" in str(error.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"head": "mixture", "modes": 0}, ["--modes", "above 0"]),
        ({"head": "flow", "flow_steps": 0}, ["--flow_steps", "above 0"]),
        ({"head": "flow", "flow_steps": 2.5}, ["--flow_steps", "2.5"]),
        ({"head": "gaussian", "modes": 3}, ["--modes 3", "gaussian", "--head mixture"]),
        ({"flow_steps": 3}, ["--flow_steps 3", "gaussian", "--head flow"]),
        ({"head": "mixture", "flow_steps": 10}, ["--flow_steps 10", "mixture", "--head flow"]),
        ({"head": "flow", "loss": "mse"}, ["--loss mse", "Flow", "flow_matching"]),
        ({"head": "mixture", "loss": "mse"}, ["--loss mse", "Mixture", "nll"]),
    ],
)
def test_a_setting_that_does_not_fit_the_head_is_refused(settings, words):
    with pytest.raises(InputError) as error:
        MLPPolicySL((2,), 2, False, **settings)
    assert str(error.value).startswith(words[0]) and all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--modes 0", ["--modes", "above 0"]),
        ("--flow_steps -1", ["--flow_steps", "above 0"]),
        ("--head mixture --modes 1000000000", ["--modes", "at most"]),
        ("--head gaussian --modes 3", ["--modes 3", "gaussian", "drop it"]),
    ],
)
def test_the_command_refuses_them_in_one_sentence(flags, words, monkeypatch, capsys, tmp_path):
    command = f"run_hw1 --env_name LunarLanderContinuous-v3 --logdir {tmp_path}/run {flags}"
    assert_refused(call_script(command, monkeypatch, capsys), *words)
    assert not (tmp_path / "run").exists()


def test_a_run_passes_the_settings_to_the_head():
    env = make_env("CorridorContinuous-v0")
    assert build_policy(RunConfig("CorridorContinuous-v0", head="mixture", modes=3), env).head.modes == 3
    assert build_policy(RunConfig("CorridorContinuous-v0", head="mixture"), env).head.modes == 5
    flow = build_policy(RunConfig("CorridorContinuous-v0", head="flow", flow_steps=7), env)
    assert flow.head.flow_steps == 7 and isinstance(flow.actor(), FlowActor)
    assert build_policy(RunConfig("CorridorContinuous-v0"), env).head_name == "gaussian"
