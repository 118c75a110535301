"""ThriftyDAgger: the expert takes over in novel states, and in risky ones, at a rate that is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from rl_il.config import RunConfig
from rl_il.envs import env_row
from rl_il.errors import InputError
from rl_il.infrastructure.dagger import Teacher
from rl_il.infrastructure.rules.arguments import check_number
from rl_il.infrastructure.rules.safe import errors_on_labels, train_network
from rl_il.infrastructure.rules.takeover import Takeover
from rl_il.seeding import stream
from rl_il.types import Actor, Trajectory

if TYPE_CHECKING:  # it imports torch, which a worker process does not need
    from rl_il.infrastructure.replay_buffer import ReplayBuffer

DISCOUNT = 0.99  # of success, for each step that is left


class ThriftyDAgger(Takeover):
    """Let the expert take over where the state is novel or risky (Hoque et al. 2021, "ThriftyDAgger: Budget-Aware
    Novelty and Risk Gating for Interactive Imitation Learning", arXiv:2109.08273).

    A state is novel where the networks of the ensemble disagree more than in all but a fraction `rate` of the states
    that the last iteration visited (at first, of the demonstrations). It is risky where the predicted chance of
    success is below that of all but the fraction `rate`. The expert hands back where the learner is at least as near
    to it as on the labelled states on average, and the chance is not below the median. The paper sets the thresholds
    on line, compares mean squared distances, and learns the chance by Q-learning. Here they are set between
    iterations, and the chance is learned from the discounted outcomes of the visited episodes. If no success is
    known, there is only novelty.

    Args:
      rate: the fraction of states that count as novel, and of those that count as risky. The expert acts at more
        steps, since it goes on until it hands back.
      success: returns whether an episode reached its goal, or None if that is unknown. None: what the environment's
        row in `ENVS` or its info says.
      seed: the seed of the network that predicts the chance.
    """

    settings = ("seed",)
    needs_ensemble = True
    asks_learner = True
    stays = ("_visited", "_tried", "_outcomes")

    def __init__(self, rate: float = 0.1, success: Callable[[Trajectory], bool | None] | None = None, seed: int = 1):
        self.rate, self.seed = check_number("rate", rate, 1), seed
        if success is not None and not callable(success):
            raise InputError("--rule_kwargs success must be a function; it can be given only from Python")
        self.success = success
        self._of_row = attrgetter("success")
        self._forget()

    def check(self, config: RunConfig, learner: Actor) -> None:
        """Raise `InputError` if something is missing. Note what success is in the run's environment."""
        super().check(config, learner)
        self._of_row = env_row(config.env_name).success or self._of_row

    def _forget(self) -> None:
        self._visited: np.ndarray | None = None  # (N, *ob_shape): of the last iteration
        self._tried, self._outcomes = np.empty((0, 0), np.float32), np.empty((0, 1), np.float32)  # of all iterations

    def begin_round(self, snapshot: Actor, data: ReplayBuffer, itr: int) -> None:
        """Set the thresholds for this learner."""
        super().begin_round(snapshot, data, itr)
        if itr == 1:
            self._forget()  # what another run left
        obs, gaps = errors_on_labels(snapshot, data, self._scale)
        visited = obs if self._visited is None else self._visited
        self._novelty, self._near = np.quantile(snapshot.disagreement(visited), 1 - self.rate), gaps.mean()
        self._chances = None
        if len(self._outcomes):
            rng = stream(self.seed, "rule", itr)
            self._chances = train_network(self._tried, self._outcomes, 1, False, rng)
            chances = self._chances.get_action(pairs(visited, snapshot.get_action(visited)))
            self._risky, self._median = np.quantile(chances, self.rate), np.median(chances)

    def takes_over(self, ob: np.ndarray, own: np.ndarray, teacher: Teacher) -> bool:
        """Return whether the state is novel or risky."""
        novel = self._learner.disagreement(ob) > self._novelty
        return bool(novel or (self._chances is not None and self._chance(ob, own) < self._risky))

    def hands_back(self, ob: np.ndarray, own: np.ndarray, teacher: Teacher) -> bool:
        """Return whether the learner is near to the expert, and success is likely."""
        near = self.gap(own, teacher.act(ob)) <= self._near
        return bool(near and (self._chances is None or self._chance(ob, own) >= self._median))

    def _chance(self, ob: np.ndarray, own: np.ndarray) -> float:
        return float(self._chances.get_action(pairs(ob[None], np.asarray(own)[None]))[0, 0])

    def select(
        self, trajectories: Sequence[Trajectory], budget: int | None, rng: np.random.Generator
    ) -> list[np.ndarray]:
        """Return the states in which the expert acted. What was visited is kept for the next thresholds."""
        self._visited = np.concatenate([t.obs[:-1] for t in trajectories])
        known = [(t, reached) for t in trajectories if (reached := (self.success or self._of_row)(t)) is not None]
        if known:
            tried = np.concatenate([pairs(t.obs[:-1], t.acs) for t, _ in known])
            outcomes = [reached * DISCOUNT ** np.arange(len(t) - 1, -1, -1.0) for t, reached in known]
            outcomes = np.concatenate(outcomes)[:, None].astype(np.float32)
            self._tried = np.concatenate([self._tried, tried]) if len(self._tried) else tried
            self._outcomes = np.concatenate([self._outcomes, outcomes])
        return super().select(trajectories, budget, rng)

    def state_dict(self) -> dict[str, Any]:
        """Return the visited states, and the outcomes."""
        import torch

        visited = {} if self._visited is None else {"visited": torch.from_numpy(self._visited)}
        return visited | {"tried": torch.from_numpy(self._tried), "outcomes": torch.from_numpy(self._outcomes)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        self._visited = state["visited"].numpy() if "visited" in state else None
        self._tried, self._outcomes = state["tried"].numpy(), state["outcomes"].numpy()


def pairs(obs: np.ndarray, acs: np.ndarray) -> np.ndarray:
    """Return observations and actions in one row each, `(N, d)` float32."""
    return np.concatenate([np.reshape(part, (len(part), -1)) for part in (obs, acs)], axis=1).astype(np.float32)
