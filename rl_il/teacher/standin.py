"""A scripted teacher: an expert that presses the keys a person would press."""

from __future__ import annotations

import gymnasium as gym
import numpy as np

from rl_il.infrastructure.seeding import stream
from rl_il.keys import KeyMap
from rl_il.types import Expert, reads_simulator


class StandIn:
    """Decides before each step which keys to hold.

    It lets the agent act until agent and expert have disagreed for `disagreement_steps` steps in a row: a single
    other action seldom matters, a run of them leads away. It then acts for `takeover_steps` steps, and on from there
    until the agent would do what the expert does. Two actions agree if the same keys are nearest to them, so
    continuous ones agree when a person could not tell them apart with these keys.

    Args:
      expert: knows what to do.
      keys: how it is done.
      disagreement_steps, takeover_steps: see above.
      noise: how often it presses another key than it should, while it acts.
      seed: root of that.
    """

    def __init__(
        self,
        expert: Expert,
        keys: KeyMap,
        disagreement_steps: int,
        takeover_steps: int = 15,
        noise: float = 0.0,
        seed: int = 0,
    ):
        self.expert, self.keys, self.noise, self.seed = expert, keys, noise, seed
        self.disagreement_steps, self.takeover_steps = disagreement_steps, takeover_steps
        self.begin_episode(None, 0, 0)

    def begin_episode(self, env: gym.Env | None, episode: int, seed: int) -> None:
        """Called where an episode starts, from `seed`."""
        self._disagreed = self._acted = 0
        self._acting = False
        self._rng = stream(self.seed, "teacher", episode)
        if env is not None:
            if reads_simulator(self.expert):
                self.expert.watch(env)
            self.expert.reset(seed)

    def choose(self, ob: np.ndarray, agent_action: np.ndarray) -> tuple[str, ...]:
        """The keys to hold in the step from `ob`, where the agent would do `agent_action`; none: let it act."""
        wanted = self.keys.nearest(self.expert.get_action(ob))
        disagrees = self.keys.nearest(agent_action) != wanted
        self._disagreed = self._disagreed + 1 if disagrees else 0
        if self._acting:
            self._acted += 1
            self._acting = disagrees or self._acted < self.takeover_steps
        elif self._disagreed >= self.disagreement_steps:
            self._acting, self._acted = True, 0
        if not self._acting:
            return ()
        return self._slip(wanted) if self._rng.random() < self.noise else wanted

    def _slip(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """One wrong key."""
        others = [key.code for key in self.keys.keys if (key.code,) != wanted]
        return (others[self._rng.integers(len(others))],)
