"""`PPOTrainer`, with Stable-Baselines3 itself. `make test-sb3` runs this file."""

import random
from dataclasses import replace
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
import torch
from clones import ACTIONS, BOX, SMALL, clone_of, same, states_of, trainer_of

from rl_il.envs import make_env
from rl_il.errors import DivergedError, InputError
from rl_il.finetune_config import TEMPERATURE
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.policies.policy_file import load_policy

pytestmark = pytest.mark.sb3


def test_the_result_acts_as_the_model_of_the_library(clone):
    trainer = trainer_of(clone)
    assert trainer.counts.expert_labels == 7
    list(trainer.blocks())
    obs = states_of((4,))
    got, _ = trainer.model.predict(obs, deterministic=True)
    np.testing.assert_array_equal(trainer.policy.actor().get_action(obs), got)


def test_each_update_has_its_learning_rate_and_scaled_rewards(clone):
    trainer = trainer_of(clone, reward_scale=0.25)
    list(trainer.blocks())
    (group,) = trainer.model.policy.optimizer.param_groups
    assert group["lr"] == pytest.approx(trainer.config.learning_rate_at(192))  # the last update begins there
    rewards = trainer.model.rollout_buffer.rewards  # 1 in each step of CartPole, without the value after a time limit
    assert np.allclose(rewards, 0.25)


def test_continuous_actions_come_back_in_their_units(tmp_path):
    from rl_il.finetuning.trainer import PPOTrainer

    policy = clone_of("Pendulum-v1", normalize_acs=True)
    config = replace(SMALL, env_name="Pendulum-v1", total_timesteps=128, temperature=None)
    trainer = PPOTrainer(config, policy)
    before = trainer.policy.actor().get_action(states_of((3,)))
    np.testing.assert_allclose(before, policy.actor().get_action(states_of((3,))), atol=1e-5)
    list(trainer.blocks())
    trainer.policy.save(tmp_path / "tuned.pt")
    tuned, obs = load_policy(tmp_path / "tuned.pt"), states_of((3,))
    got, _ = trainer.model.predict(obs, deterministic=True)
    np.testing.assert_allclose(np.clip(tuned.actor().get_action(obs), -2, 2), got, atol=1e-5)
    assert tuned.loss_name == "nll" and not tuned.normalize_acs
    assert torch.equal(tuned.head.log_std, trainer.model.policy.log_std)


def weights(trainer) -> tuple[list, list]:
    """Return the weights of the actor and of the critic as they are now."""
    parts = trainer.model.policy.mlp_extractor
    return [[p.detach().clone() for p in part.parameters()] for part in (parts.policy_net, parts.value_net)]


def test_the_actor_stands_still_until_the_critic_is_trained(register_env):
    from rl_il.finetuning.trainer import PPOTrainer

    env = register_env(BOX, ACTIONS["numbers"], max_episode_steps=1000)
    config = replace(SMALL, env_name=env, critic_warmup=128, total_timesteps=384)
    trainer = PPOTrainer(config, clone_of(make_env(env)))
    found = [_parameters(trainer.model.policy) for _ in trainer.blocks()]
    critic = {name for name in found[0] if "value_net" in name}
    assert len(critic) == 6 and "log_std" in found[0]
    first, *others = [{name for name in a if not torch.equal(a[name], b[name])} for a, b in pairwise(found)]
    assert first == critic and all(moved == found[0].keys() for moved in others)


def _parameters(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


def constant_critic(trainer, value: float) -> None:
    torch.nn.init.zeros_(trainer.model.policy.value_net.weight)
    torch.nn.init.constant_(trainer.model.policy.value_net.bias, value)


@pytest.mark.parametrize("limit", ["of the environment", "of the run"])
def test_a_time_limit_adds_what_the_critic_expects_to_the_scaled_reward(register_env, clone, limit):
    from rl_il.finetuning.trainer import PPOTrainer

    own = limit == "of the environment"
    env = register_env(gym.spaces.Box(-1, 1, (4,)), gym.spaces.Discrete(2), max_episode_steps=5 if own else 1000)
    config = replace(SMALL, env_name=env, ep_len=None if own else 5, reward_scale=0.25, gamma=0.5)
    trainer = PPOTrainer(replace(config, total_timesteps=64, eval_every=64), load_policy(clone))
    constant_critic(trainer, 3.0)
    _, block = trainer.blocks()
    expected = [0, 0, 0, 0, 0.5 * 3.0] * 6 + [0, 0]  # the rewards are 0
    np.testing.assert_allclose(trainer.model.rollout_buffer.rewards, np.transpose([expected] * 2), atol=1e-6)
    assert block.scalars["Train_AverageEpLen"] == 5


class Drawing(MLPPolicySL):
    """A policy whose constructor draws random numbers, as one that makes layers does."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        torch.rand(1)


def test_a_training_leaves_the_global_generators_alone():
    from rl_il.finetuning.trainer import PPOTrainer

    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    clone, before = Drawing.for_env(make_env("CartPole-v1")), states()
    list(PPOTrainer(SMALL, clone).blocks())
    assert states() == before


@pytest.mark.parametrize(("weight", "expected"), [(np.inf, DivergedError), (1.0, RuntimeError)])
def test_an_error_of_weights_that_are_not_finite_is_a_divergence(monkeypatch, clone, weight, expected):
    trainer, closed = trainer_of(clone), []

    def learn(*_, **__):
        trainer.model.policy.value_net.bias.data.fill_(weight)
        raise RuntimeError("the environment has failed")

    monkeypatch.setattr(trainer.model, "learn", learn)
    monkeypatch.setattr(trainer.envs, "close", lambda: closed.append(True))
    with pytest.raises(expected):
        list(trainer.blocks())
    assert closed == [True]


def test_values_that_are_not_finite_have_no_part_in_the_mean(clone):
    from rl_il.finetuning.protection import Protection

    found = Protection(SMALL, torch.nn.Identity(), iter(()))
    found.measured |= {"explained_variance": [np.nan, 0.5, -np.inf, 0.25], "approx_kl": [np.nan]}
    assert found.scalars() == {"PPO_explained_variance": 0.375}


def test_leaving_the_clone_is_subtracted_from_the_rewards(register_env, clone):
    from rl_il.finetuning.trainer import PPOTrainer

    env = register_env(gym.spaces.Box(-1, 1, (4,)), gym.spaces.Discrete(2), max_episode_steps=1000)  # rewards are 0
    config = replace(SMALL, env_name=env, kl_to_clone=3.0, kl_until=512, total_timesteps=512, eval_every=64)
    trainer = PPOTrainer(config, load_policy(clone))
    blocks = trainer.blocks()
    next(blocks), next(blocks), next(blocks)
    # The library has flattened its arrays: the steps of the first environment come first.
    buffer, steps = trainer.model.rollout_buffer, np.tile(64 + 2 * np.arange(1, 33), 2)
    obs, acs = torch.as_tensor(buffer.observations), torch.as_tensor(buffer.actions).long().flatten()
    with torch.no_grad():
        _, before, _ = trainer.reference.evaluate_actions(obs, acs)
    ratios = buffer.log_probs.flatten() - before.numpy()
    assert np.abs(ratios).max() > 1e-4
    price = 3.0 * (1 - steps / 512)
    np.testing.assert_allclose(buffer.rewards.T.flatten(), -price * ratios, atol=1e-6)


@pytest.mark.parametrize("actions", ["integers", "matrix"])
def test_the_price_is_0_for_the_clone_itself_whatever_its_actions_are(register_env, actions):
    from rl_il.finetuning.trainer import PPOTrainer

    env = register_env(BOX, ACTIONS[actions], max_episode_steps=1000)
    config = replace(SMALL, env_name=env, kl_to_clone=1.0, critic_warmup=64, total_timesteps=128, eval_every=64)
    _, first, second = PPOTrainer(config, clone_of(make_env(env))).blocks()
    assert abs(first.scalars["PPO_log_ratio_to_clone"]) < 1e-5
    assert "PPO_log_ratio_to_clone" in second.scalars


class Breaking(gym.Env):
    """Episodes of which step `at` has this reward, and this number in its observation; step 0 is the reset."""

    observation_space, action_space = gym.spaces.Box(-1, 1, (4,)), gym.spaces.Discrete(2)

    def __init__(self, reward, number, at):
        self.returned, self.at = (reward, number), at

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return self.returns()[0], {}

    def step(self, action):
        self.steps += 1
        ob, reward = self.returns()
        return ob, reward, False, False, {}

    def returns(self):
        reward, number = self.returned if self.steps == self.at else (0.0, 0.0)
        return np.array([0, number, 0, 0], np.float32), reward


@pytest.mark.parametrize(
    ("reward", "number", "at", "name"),
    [(np.nan, 0.0, 3, "reward"), (0.0, np.inf, 3, "observation"), (0.0, np.nan, 0, "observation")],
)
def test_numbers_of_the_environment_that_are_not_finite_are_refused(clone, reward, number, at, name):
    gym.register("Breaking-v0", lambda: Breaking(reward, number, at))
    try:
        with pytest.raises(InputError, match=name) as error:
            list(trainer_of(clone, env_name="Breaking-v0").blocks())
        assert not isinstance(error.value, DivergedError) and "Breaking-v0" in str(error.value)
    finally:
        del gym.registry["Breaking-v0"]


@pytest.mark.parametrize("actions", ["integer", "integers"])
def test_the_temperature_divides_the_logits_of_the_clone_and_of_the_reference(register_env, actions):
    from rl_il.finetuning.trainer import PPOTrainer

    env, obs = register_env(BOX, ACTIONS[actions]), torch.from_numpy(states_of((5,)))
    clone = clone_of(make_env(env))
    first, softened = (PPOTrainer(replace(SMALL, env_name=env, temperature=t), clone) for t in (1.0, 4.0))
    before, after = (logits_of(each.model.policy, obs) for each in (first, softened))
    torch.testing.assert_close(4 * after, before)
    assert torch.equal(logits_of(softened.reference, obs), after)
    usual = PPOTrainer(replace(SMALL, env_name=env, temperature=None), clone)
    torch.testing.assert_close(TEMPERATURE * logits_of(usual.model.policy, obs), before)


def logits_of(policy, obs: torch.Tensor) -> torch.Tensor:
    """Return the logits of the library's policy, `(len(obs), n)`."""
    with torch.no_grad():
        return policy.action_net(policy.mlp_extractor.forward_actor(policy.extract_features(obs)))


def test_from_nothing_has_other_weights_and_no_labels(clone):
    trainer, usual = trainer_of(clone, from_nothing=True, critic_warmup=None, temperature=None), trainer_of(clone)
    assert not same(weights(trainer)[0], weights(usual)[0])
    assert trainer.counts.expert_labels == 0 and trainer.config.warmup == 0
