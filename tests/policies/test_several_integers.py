"""Actions of several integers, and of any start and shape: the head, its loss, and its copies."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from fakes import COMBINATIONS, walk
from fakes import ConstantActor as Constant

from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.experts.loading import load_actor
from rl_il.infrastructure.evaluation import agreement
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.infrastructure.rollouts import sample_trajectory
from rl_il.policies.actors import NumpyActor, RandomActor
from rl_il.policies.heads import MultiCategorical
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.policies.policy_file import load_policy
from rl_il.types import EXPERT, ActionForm

OBS = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32)


def constant_policy(probabilities: list[float], choices: tuple[int, ...], **settings) -> MLPPolicySL:
    """Return a policy of several integers with these probabilities of their choices, in a row, in every state."""
    policy = MLPPolicySL((2,), choices, True, n_layers=0, **settings)
    with torch.no_grad():
        policy.head.network[-1].weight.zero_()
        policy.head.network[-1].bias.copy_(torch.tensor(probabilities).log())
    return policy


def test_the_loss_and_the_accuracy_by_hand():
    policy = constant_policy([0.75, 0.25, 0.5, 0.3, 0.2], (2, 3))
    assert (policy.head_name, policy.loss_name) == ("multi_categorical", "nll")
    labels = torch.tensor([[0, 0], [1, 2], [0, 1]])
    by_hand = [0.75 * 0.5, 0.25 * 0.2, 0.75 * 0.3]
    assert policy.loss(torch.zeros(3, 2), labels).item() == pytest.approx(-sum(map(math.log, by_hand)) / 3)
    metrics = policy.validate(torch.zeros(3, 2), labels)
    assert metrics["Validation Accuracy"] == pytest.approx(1 / 3)  # only the first is right in both integers


def test_the_greedy_action_is_the_most_likely_of_each_integer_in_torch_and_numpy(tmp_path):
    policy = constant_policy([0.4, 0.6, 0.2, 0.3, 0.5], (2, 3), ac_start=(1, -1))
    policy.save(tmp_path / "policy.pt")
    loaded = load_policy(tmp_path / "policy.pt")
    for actor in (policy, policy.actor(), loaded, loaded.actor()):
        assert actor.get_action(OBS[0]).tolist() == [2, 1]
        assert actor.get_action(OBS).tolist() == [[2, 1]] * 64 and actor.get_action(OBS).dtype == np.int64
        assert actor.form == ActionForm((2, 3), (2,), (1, -1))
    assert isinstance(policy.actor(), NumpyActor)


def test_samples_have_the_probabilities():
    policy = constant_policy([0.75, 0.25, 0.5, 0.3, 0.2], (2, 3))
    policy.reset(0)
    acs = policy.get_action(np.zeros((20_000, 2)), sample=True)
    np.testing.assert_allclose(np.bincount(acs[:, 0]) / 20_000, [0.75, 0.25], atol=0.01)
    np.testing.assert_allclose(np.bincount(acs[:, 1]) / 20_000, [0.5, 0.3, 0.2], atol=0.01)
    assert abs(np.corrcoef(acs.T)[0, 1]) < 0.03


@pytest.mark.parametrize("name", COMBINATIONS)
def test_the_copies_of_a_policy_act_as_it_does_in_its_space(name, tmp_path):
    env = make_env(name)
    policy = MLPPolicySL.for_env(env, seed=2)
    policy.save(tmp_path / "policy.pt")
    obs = np.eye(5, dtype=np.int64)
    expected = policy.get_action(obs)
    assert expected.shape == (5, *env.action_space.shape)
    for actor in (policy.actor(), load_policy(tmp_path / "policy.pt"), load_actor(str(tmp_path / "policy.pt"), env)):
        np.testing.assert_allclose(actor.get_action(obs), expected, atol=1e-6)
        np.testing.assert_allclose([actor.get_action(ob) for ob in obs], expected, atol=1e-6)
        assert actor.get_action(obs[0]).shape == env.action_space.shape


def test_a_usual_policys_hyperparameters_are_those_of_before():
    names = {"ob_shape", "ac_dim", "discrete", "n_layers", "size", "activation", "seed", "loss"}
    names |= {"learning_rate", "weight_decay"}
    for settings in ((3, True), (2, False)):
        assert MLPPolicySL((2,), *settings).hyperparameters().keys() == names
    assert MLPPolicySL((2,), 3, True, ac_start=(1,)).hyperparameters().keys() == names | {"ac_start"}


@pytest.mark.parametrize(("head", "message"), [("categorical", "integers of 2, 3"), ("gaussian", "integers of 2, 3")])
def test_a_head_for_other_actions_is_refused(head, message):
    with pytest.raises(InputError, match=f"{head}.*{message}.*multi_categorical"):
        MLPPolicySL((2,), (2, 3), True, head=head)
    assert MultiCategorical.fits(True, several=True) and not MultiCategorical.fits(True)


@pytest.mark.parametrize("name", COMBINATIONS)
def test_random_actions_are_in_the_space_and_executed_as_its_own(name):
    env = make_env(name)
    trajectory = sample_trajectory(env, RandomActor(env), seed=1)
    assert len(trajectory) == 10 and len(np.unique(trajectory.acs)) > 1
    for action, executed in zip(trajectory.acs, env.unwrapped.executed, strict=True):
        assert env.action_space.contains(executed)
        np.testing.assert_array_equal(action, executed)
    usual = np.float32 if env.action_space.dtype == np.float32 else env.action_space.dtype
    assert trajectory.acs.dtype == usual


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("CombinationFromOne-v0", 0),
        ("CombinationFromOne-v0", 5),
        ("CombinationMultiDiscrete-v0", [1, 2, 4]),
        ("CombinationMultiDiscrete-v0", [1, 2]),
    ],
)
def test_an_expert_with_other_integers_is_refused_at_its_first_action(name, action):
    with pytest.raises(InputError, match=name):
        sample_trajectory(make_env(name), Constant(action, (5,)), 0)


def test_an_experts_labels_are_the_environments_own_actions():
    env = make_env("CombinationMultiDiscreteFromOne-v0")
    trajectory = sample_trajectory(env, Constant([2, 1], (5,)), 0, source=EXPERT)
    np.testing.assert_array_equal(trajectory.labels, [[2, 1]] * 10)
    buffer = ReplayBuffer(to_labels=MLPPolicySL.for_env(env).to_labels)
    buffer.add([trajectory])
    assert buffer.acs.tolist() == [[1, 2]] * 10


def test_agreement_counts_actions_that_are_right_in_all_integers():
    episodes = [walk(3)]
    one, other = Constant([1, 2]), Constant([1, 0])
    assert agreement(one, one, episodes, discrete=True) == {"Eval_ExpertAgreement": 1}
    assert agreement(one, other, episodes, discrete=True) == {"Eval_ExpertAgreement": 0}


@pytest.mark.parametrize(
    ("space", "settings", "words"),
    [
        (gym.spaces.Discrete(4, start=1), (4, True, {}), "4 discrete actions from 1"),
        (gym.spaces.MultiDiscrete([2, 3]), ((3, 2), True, {}), "2, 3 choices"),
        (gym.spaces.MultiDiscrete([2, 3]), (5, True, {}), "2, 3 choices"),
        (gym.spaces.Box(-1, 1, (2, 3)), (6, False, {}), r"\(2, 3\)"),
        (gym.spaces.Box(-1, 1, (2, 3)), (6, False, {"ac_shape": (3, 2)}), r"\(2, 3\)"),
    ],
)
def test_a_policy_of_other_actions_is_refused(register_env, tmp_path, space, settings, words):
    ac_dim, discrete, more = settings
    env = make_env(register_env(gym.spaces.Box(-1, 1, (2,)), space))
    MLPPolicySL((2,), ac_dim, discrete, **more).save(tmp_path / "policy.pt")
    with pytest.raises(InputError, match=words):
        load_actor(str(tmp_path / "policy.pt"), env)
    MLPPolicySL.for_env(env).save(tmp_path / "policy.pt")
    assert load_actor(str(tmp_path / "policy.pt"), env).form == MLPPolicySL.for_env(env).form
