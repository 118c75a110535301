"""Episodes side by side in a Gymnasium vector environment, where the policy acts for all of them in one batch.

It is for policies without a NumPy form: those that see pictures, above all on a GPU. They act in the main process, on
the device that they are trained on, and the environments' processes need no torch. Floats computed in a batch of
another size differ in their last digits: with such a policy, and nowhere else, the number of workers is part of the
result.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from rl_il.errors import InputError
from rl_il.infrastructure.interrupts import MOST_DEATHS, died_too_often
from rl_il.infrastructure.slots import WorkerDied, divide, make_slots
from rl_il.types import Actor, Trajectory, VectorActor


class Queue:
    """The episodes of one rollout: which begins next, which is in which slot, and which are whole.

    Args:
      seeds: the episodes' seeds, in their order.
      n_slots: of the vector environment.

    Attributes:
      slots: number and seed of the episode in each slot; None where there is none.
      deaths: of processes, since an episode was last finished.
    """

    def __init__(self, seeds: Sequence[int] | Iterator[int], n_slots: int):
        # Whoever asks for episodes without end takes few of them, and a whole one is held until it is its turn.
        self._most_ahead = len(seeds) if isinstance(seeds, Sequence) else 2 * n_slots
        self._fresh = enumerate(seeds)
        self._lost: list[tuple[int, int]] = []
        self._whole: dict[int, Trajectory] = {}
        self._begun = self._yielded = self.deaths = 0
        self.slots: list[tuple[int, int] | None] = [None] * n_slots

    def begin(self) -> np.ndarray:
        """Gives the next episodes to free slots; returns which have begun one, `(n_slots,)` bool."""
        begun = np.zeros(len(self.slots), bool)
        for slot, episode in enumerate(self.slots):
            if episode is None:
                self.slots[slot] = self._next()
                begun[slot] = self.slots[slot] is not None
        return begun

    def _next(self) -> tuple[int, int] | None:
        if self._lost:
            return self._lost.pop(0)
        if self._begun >= self._yielded + self._most_ahead:
            return None
        self._begun += 1
        return next(self._fresh, None)

    def end(self, slot: int, trajectory: Trajectory) -> None:
        """The slot's episode is whole."""
        number, _ = self.slots[slot]
        self._whole[number] = trajectory
        self.slots[slot] = None
        self.deaths = 0

    def in_turn(self) -> Iterator[Trajectory]:
        """The whole episodes before which none is missing."""
        while self._yielded in self._whole:
            self._yielded += 1
            yield self._whole.pop(self._yielded - 1)

    def lose(self) -> None:
        """The slots' processes died: their episodes are the next to begin."""
        self._lost = sorted([*filter(None, self.slots), *self._lost])
        self.slots = [None] * len(self.slots)
        self.deaths += 1


class BatchedEpisodes:
    """Takes the place of an environment: a vector environment with a slot for each worker. Close it when done.

    If a process dies or hangs, new ones are started and the unfinished episodes are rolled out again.

    Args:
      env: the environment; a single worker is this process, which steps it.
    """

    def __init__(self, env_name: str, env: gym.Env, num_workers: int):
        self.env_name, self.env, self.num_workers = env_name, env, num_workers
        self._envs: VectorEnv | None = None  # until it is needed
        self._queue: Queue | None = None  # of the rollout that the slots are busy with

    def episodes(
        self, actor: Actor, seeds: Sequence[int] | Iterator[int], max_path_length: int | None, source: int
    ) -> Iterator[Trajectory]:
        """The seeds' episodes in order. They begin when the first one is asked for, and end an earlier rollout."""
        self._queue = queue = Queue(seeds, self.num_workers)
        policy, beside, told = divide(actor, self.num_workers)
        while True:
            try:
                self._envs = self._envs or make_slots(self.env_name, self.env, self.num_workers)
                self._envs.call("take", beside, told, max_path_length, source)
                yield from self._roll_out(policy, queue)
                return
            except WorkerDied as error:
                self.close()
                queue.lose()
                if queue.deaths == MOST_DEATHS:
                    raise died_too_often(self.env_name) from error
                print(f"note: {error}; its episodes are rolled out again", file=sys.stderr)
            except GeneratorExit:  # nobody wants the rest; the slots are between two steps
                raise
            except BaseException:  # perhaps in the middle of a step
                self.close()
                raise

    def _roll_out(self, policy: VectorActor | None, queue: Queue) -> Iterator[Trajectory]:
        begun, n_slots = queue.begin(), len(queue.slots)
        while any(queue.slots):
            if self._queue is not queue:
                raise RuntimeError("this rollout ended where a later one began")
            if begun.any():
                seeds = [episode and episode[1] for episode in queue.slots]
                obs, infos = self._envs.reset(seed=seeds, options={"reset_mask": begun})
                check(infos)
                for slot in np.flatnonzero(begun) if policy else ():
                    policy.begin(slot, seeds[slot])
            obs, _, _, _, infos = self._envs.step(policy.get_action(obs) if policy else [None] * n_slots)
            check(infos)
            for slot in np.flatnonzero(infos.get("_trajectory", ())):
                queue.end(slot, infos["trajectory"][slot])
            yield from queue.in_turn()
            begun = queue.begin()

    def close(self) -> None:
        """Ends the processes; what is asked for after it starts new ones."""
        if self._envs:
            self._envs.close()
        self._envs = None


def check(infos: dict[str, Any]) -> None:
    """Raises the `InputError` that a slot tells of."""
    for slot in np.flatnonzero(infos.get("_error", ())):
        raise InputError(infos["error"][slot])
