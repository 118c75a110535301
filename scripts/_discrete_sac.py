"""Soft Actor-Critic for discrete actions (Christodoulou 2019, arXiv:1910.07207) in JAX, for `train_expert.py`.

sbx-rl has no such algorithm. This one differs from the paper in some points, which LunarLander needs. The critics'
target has no entropy bonus, because with it hovering would have a higher return than landing. The weight of the
entropy is not learnt: it decreases from one number to another. The critics have LayerNorm and a Huber loss.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

TARGET_RATE = 0.005  # weight of the critics in each update of the target critics
ENTROPY_FALLS_UNTIL = 0.8  # fraction of the training after which the entropy weight is constant
ADAM = optax.scale_by_adam()


class Mlp(nn.Module):
    """A network with two hidden layers, for a critic with LayerNorm."""

    hidden: int
    outputs: int
    layer_norm: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return `(N, outputs)` for `(N, inputs)`."""
        for _ in range(2):
            x = nn.Dense(self.hidden)(x)
            x = nn.relu(nn.LayerNorm()(x) if self.layer_norm else x)
        return nn.Dense(self.outputs)(x)


class State(NamedTuple):
    """The state that a gradient step changes. The two critics are stacked along the first axis of each array."""

    actor: Any
    actor_adam: Any
    critics: Any
    critics_adam: Any
    targets: Any


class Transitions(NamedTuple):
    """Rows of experience. `terminal` is 1 if the episode ended in a terminal state, and 0 otherwise."""

    obs: np.ndarray
    acs: np.ndarray
    rewards: np.ndarray
    next_obs: np.ndarray
    terminal: np.ndarray


class ReplayBuffer:
    """A replay buffer in preallocated arrays. It replaces that of Stable-Baselines3."""

    def __init__(self, rows: int, ob_dim: int):
        self.rows, self.added = rows, 0
        wide, narrow = np.zeros((rows, ob_dim), np.float32), np.zeros(rows, np.float32)
        self.data = Transitions(wide, narrow.astype(np.int32), narrow, wide.copy(), narrow.copy())

    @property
    def observations(self) -> np.ndarray:
        """Return the stored observations, `(rows, ob_dim)`, with zeros in rows that are not used yet."""
        return self.data.obs

    def add(self, obs, next_obs, acs, rewards, dones, infos) -> None:
        """Append one row for each environment."""
        limited = np.array([info.get("TimeLimit.truncated", False) for info in infos])
        at = (self.added + np.arange(len(obs))) % self.rows
        for storage, rows in zip(self.data, (obs, acs, rewards, next_obs, dones & ~limited), strict=True):
            storage[at] = rows
        self.added += len(obs)

    def sample(self, n_batches: int, rows: int, rng: np.random.Generator) -> Transitions:
        """Return transitions `(n_batches, rows, ...)`, drawn with replacement."""
        chosen = rng.integers(min(self.added, self.rows), size=(n_batches, rows))
        return Transitions(*(storage[chosen] for storage in self.data))


class DiscreteSAC:
    """The learning algorithm, with the part of Stable-Baselines3's interface that `train_expert.py` uses."""

    def __init__(
        self,
        env,
        steps: int,
        gamma: float,
        updates_per_step: float,
        learning_rate: float,
        hidden: int,
        batch: int,
        entropy_weight: tuple[float, float],
        learning_starts: int,
        seed: int,
    ):
        self.env, self.steps, self.batch, self.seed = env, steps, batch, seed
        self.learning_rate, self.entropy_weight = learning_rate, entropy_weight
        self.learning_starts, self.num_timesteps = learning_starts, 0
        self.updates = round(env.num_envs * updates_per_step)
        self.action_space = env.action_space
        ob_dim, n_actions = env.observation_space.shape[0], int(env.action_space.n)
        self.replay_buffer = ReplayBuffer(min(steps, 1_000_000), ob_dim)
        self.rng = np.random.default_rng(seed)
        self.actor, critic = Mlp(hidden, n_actions, False), Mlp(hidden, n_actions, True)
        actor_key, critic_key = jax.random.split(jax.random.PRNGKey(seed))
        ob = jnp.zeros((1, ob_dim))
        actor = self.actor.init(actor_key, ob)
        critics = jax.vmap(critic.init, in_axes=(0, None))(jax.random.split(critic_key), ob)
        self.state = State(actor, ADAM.init(actor), critics, ADAM.init(critics), critics)
        self._train = jax.jit(partial(train, self.actor.apply, jax.vmap(critic.apply, in_axes=(0, None)), gamma))

    def get_env(self):
        """Return the vectorised environment."""
        return self.env

    def actor_params(self) -> dict[str, Any]:
        """Return the actor's layers by flax's names."""
        return self.state.actor["params"]

    def learn(self, total_timesteps: int, callback: Callable[..., bool], **_: Any) -> None:
        """Step all environments together, and train after each step."""
        obs, end = self.env.reset(), self.num_timesteps + total_timesteps
        while self.num_timesteps < end:
            acs = self._explore(obs)
            next_obs, rewards, dones, infos = self.env.step(acs)
            stored = next_obs.copy()
            for i in np.flatnonzero(dones):
                stored[i] = infos[i]["terminal_observation"]
            self.replay_buffer.add(obs, stored, acs, rewards, dones, infos)
            obs = next_obs
            self.num_timesteps += len(obs)
            if self.num_timesteps >= self.learning_starts:
                self._update()
            callback()

    def _update(self) -> None:
        """Make the gradient steps for one step of the environments."""
        progress = self.num_timesteps / self.steps
        first, last = self.entropy_weight
        entropy_weight = first * (last / first) ** min(1, progress / ENTROPY_FALLS_UNTIL)
        learning_rate = self.learning_rate * min(1, 4 * max(0, 1 - progress))
        batches = self.replay_buffer.sample(self.updates, self.batch, self.rng)
        self.state = self._train(self.state, batches, entropy_weight, learning_rate)

    def _explore(self, obs: np.ndarray) -> np.ndarray:
        """Return actions drawn from the actor's distribution: the argmax of the logits plus Gumbel noise."""
        n = (len(obs), int(self.action_space.n))
        if self.num_timesteps < self.learning_starts:
            return self.rng.integers(n[1], size=n[0])
        h, layers = obs, self.actor_params()
        for i in range(3):
            h = np.maximum(h, 0) if i else h
            h = h @ np.asarray(layers[f"Dense_{i}"]["kernel"]) + np.asarray(layers[f"Dense_{i}"]["bias"])
        return (h + self.rng.gumbel(size=n)).argmax(axis=1)

    def save(self, path: Path) -> None:
        """Write networks, optimisers, random state and number of steps, without pickle."""
        arrays = {f"leaf_{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(self.state))}
        rng = np.array(json.dumps(self.rng.bit_generator.state))
        with open(path, "wb") as file:
            np.savez(file, **arrays, num_timesteps=self.num_timesteps, rng=rng)

    def save_replay_buffer(self, path: Path) -> None:
        """Write the replay buffer."""
        with open(path, "wb") as file:
            np.savez(file, added=self.replay_buffer.added, **self.replay_buffer.data._asdict())

    def restore(self, model: Path, replay_buffer: Path) -> None:
        """Read what `save` and `save_replay_buffer` wrote."""
        with np.load(model, allow_pickle=False) as file:
            structure = jax.tree.structure(self.state)
            leaves = [jnp.asarray(file[f"leaf_{i}"]) for i in range(structure.num_leaves)]
            self.state = jax.tree.unflatten(structure, leaves)
            self.num_timesteps = int(file["num_timesteps"])
            self.rng.bit_generator.state = json.loads(str(file["rng"]))
        with np.load(replay_buffer, allow_pickle=False) as file:
            self.replay_buffer.added = int(file["added"])
            self.replay_buffer.data = Transitions(*(file[name] for name in Transitions._fields))
            self.replay_buffer.rows = len(self.replay_buffer.data.acs)


def train(actor, critics, gamma: float, state: State, batches: Transitions, entropy_weight, learning_rate) -> State:
    """Return the state after a gradient step on each minibatch. `critics` returns values `(2, N, actions)`."""

    def critic_loss(params, batch: Transitions, targets: jax.Array) -> jax.Array:
        values = jnp.take_along_axis(critics(params, batch.obs), batch.acs[None, :, None], axis=2)[..., 0]
        return optax.huber_loss(values, targets).mean(axis=1).sum()

    def actor_loss(params, batch: Transitions, values: jax.Array) -> jax.Array:
        log_probabilities = jax.nn.log_softmax(actor(params, batch.obs))
        advantage = entropy_weight * log_probabilities - values
        return (jnp.exp(log_probabilities) * advantage).sum(axis=1).mean()

    def adam_step(params, adam, gradient):
        steps, adam = ADAM.update(gradient, adam)
        return jax.tree.map(lambda p, step: p - learning_rate * step, params, steps), adam

    def step(state: State, batch: Transitions) -> tuple[State, None]:
        probabilities = jax.nn.softmax(actor(state.actor, batch.next_obs))
        next_values = (probabilities * critics(state.targets, batch.next_obs).min(axis=0)).sum(axis=1)
        targets = batch.rewards + gamma * (1 - batch.terminal) * next_values
        gradient = jax.grad(critic_loss)(state.critics, batch, targets)
        new_critics, critics_adam = adam_step(state.critics, state.critics_adam, gradient)
        values = critics(new_critics, batch.obs).min(axis=0)
        gradient = jax.grad(actor_loss)(state.actor, batch, values)
        new_actor, actor_adam = adam_step(state.actor, state.actor_adam, gradient)
        new_targets = optax.incremental_update(new_critics, state.targets, TARGET_RATE)
        return State(new_actor, actor_adam, new_critics, critics_adam, new_targets), None

    return jax.lax.scan(step, state, batches)[0]
