"""Episodes in lockstep: envpool steps many environments at once in C++, and the actor answers for all together.

envpool (Weng et al. 2022, arXiv:2206.10558) has the same tasks, but draws other start states than Gymnasium from
the same seed, and its trajectories part from Gymnasium's after some ten or hundred steps. It is for quick looks,
not for reference numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import gymnasium as gym
import numpy as np

from rl_il.envs import episode_limit, is_discrete
from rl_il.errors import InputError
from rl_il.types import EXPERT, Actor, Trajectory, reads_simulator

AT_ONCE = 8  # episodes


class LockstepEpisodes:
    """Takes the place of an environment: its episodes come from envpool, eight at a time.

    Args:
      env: the same task in Gymnasium; its spaces and its time limit hold here too.
    """

    def __init__(self, env_name: str, env: gym.Env):
        self.env_name, self.env = env_name, env
        try:
            import envpool
        except ImportError as error:
            raise InputError('--vec_env envpool needs `pip install -e ".[envpool]" -c constraints.txt`') from error
        if env_name not in envpool.list_all_envs():
            raise InputError(f"--vec_env envpool: it has no {env_name}; drop the flag")
        self._make = envpool.make

    def episodes(
        self, actor: Actor, seeds: Iterable[int], max_path_length: int | None, source: int
    ) -> Iterator[Trajectory]:
        """One episode for each seed. The start states of eight of them follow from the first one's."""
        if reads_simulator(actor):
            raise InputError("--vec_env envpool: this actor reads Gymnasium's simulator; drop the flag")
        limit, seeds = episode_limit(self.env, max_path_length), iter(seeds)
        while together := list(islice(seeds, AT_ONCE)):
            yield from self._roll_out(actor, together, limit, source)

    def _roll_out(self, actor: Actor, seeds: list[int], limit: int | None, source: int) -> list[Trajectory]:
        space, n = self.env.action_space, len(seeds)
        discrete = is_discrete(space)
        envs = self._make(
            self.env_name, env_type="gymnasium", num_envs=n, seed=seeds[0] % 2**31, max_episode_steps=limit
        )
        ob, _ = envs.reset()
        actor.reset(seeds[0])
        obs, acs, executed, rewards = [ob.astype(self.env.observation_space.dtype)], [], [], []
        lengths, ends = np.zeros(n, int), np.zeros((n, 2), bool)
        while not lengths.all():  # who is done begins again, and goes on unheeded
            ac = actor.get_action(obs[-1])
            step_ac = ac if discrete else np.clip(ac, space.low, space.high)
            ob, reward, terminated, truncated, _ = envs.step(step_ac.astype(envs.action_space.dtype))
            obs.append(ob.astype(self.env.observation_space.dtype))
            acs.append(ac)
            executed.append(step_ac)
            rewards.append(reward)
            over = (terminated | truncated) & (lengths == 0)
            lengths[over] = len(acs)
            ends[over] = np.stack([terminated, truncated & ~terminated], axis=1)[over]
        envs.close()
        dtype = np.int64 if discrete else np.float32
        obs, acs, executed = np.array(obs), np.array(acs, dtype), np.array(executed, dtype)
        rewards = np.array(rewards, np.float64)
        return [
            Trajectory(
                obs=obs[: length + 1, i],
                acs=executed[:length, i],
                rewards=rewards[:length, i],
                terminated=bool(ends[i, 0]),
                truncated=bool(ends[i, 1]),
                expert_acs=acs[:length, i] if source == EXPERT else None,
                source=np.full(length, source, np.int8),
            )
            for i, length in enumerate(lengths)
        ]

    def close(self) -> None:
        """Nothing is left open."""
