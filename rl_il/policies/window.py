"""What a policy remembers during an episode: the last observations, and the actions that it planned."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rl_il.errors import InputError
from rl_il.policies.actors import as_batch
from rl_il.types import ActionForm, Actor


class Window:
    """The last `history` observations of an episode, and the rest of a plan of actions.

    Of each plan, `execute` actions are carried out before a new one is made: a receding horizon, as in Chi et al.
    2023 (arXiv:2303.04137).
    """

    def __init__(self, history: int = 1, execute: int = 1):
        self.history, self.execute = history, execute
        self.reset()

    def reset(self) -> None:
        """Forget the last episode."""
        self._views: np.ndarray | None = None  # (history, *view's shape), the newest last
        self.drop_plan()

    def drop_plan(self) -> None:
        """Forget the planned actions."""
        self._plan: list[np.ndarray] = []

    def stack(self, view: np.ndarray) -> np.ndarray:
        """Return the last views of the episode `(1, history, *shape)`, of which `view (1, *shape)` is the newest.

        At the start of an episode, the first one is repeated. With a history of 1, return the N views themselves.
        """
        if self.history == 1:
            return view
        if len(view) != 1:
            raise InputError(
                f"a policy that sees {self.history} observations takes one at a time, in the order of the episode,"
                f" got {len(view)}"
            )
        views = np.repeat(view, self.history, axis=0) if self._views is None else self._views
        self._views = np.concatenate((views[1:], view))
        return self._views[None]

    def next(self, plan: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the next planned label. If none is left, make a plan of labels `(K, ...)`."""
        if not self._plan:
            self._plan = [*plan()[: self.execute]]
        return self._plan.pop(0)


class WindowActor(Actor):
    """An actor in NumPy that sees the last observations or plans several actions.

    Args:
      inner: returns all numbers of a plan in one action, for the last observations `(history, *ob_shape)`, or for
        `ob_shape` if the history is 1.
      ob_shape: the shape of one observation.
      form: the form of one action.
      chunk: the number of actions in a plan.
      history, execute: as for `Window`.
    """

    def __init__(
        self, inner: Actor, ob_shape: tuple[int, ...], form: ActionForm, chunk: int, history: int, execute: int
    ):
        self.inner, self.ob_shape, self.form, self.chunk = inner, tuple(ob_shape), form, chunk
        self.remembers, self.ensemble = history > 1, inner.ensemble
        self.window = Window(history, execute)

    def reset(self, seed: int = 0) -> None:
        """Forget the last episode."""
        self.inner.reset(seed)
        self.window.reset()

    def drop_plan(self) -> None:
        """Forget the planned actions."""
        self.window.drop_plan()

    def disagreement(self, obs: np.ndarray) -> np.ndarray:
        """Return how much the plans of an ensemble disagree: one float32 for one observation, or `(N,)` for N."""
        obs, single = as_batch(obs, self.ob_shape)
        stacks = self.window.stack(obs)
        return self.inner.disagreement(stacks[0] if single else stacks)

    def get_action(self, obs: np.ndarray) -> np.ndarray:
        """Return the next planned action for one observation, or the first actions of N new plans for N."""
        obs, single = as_batch(obs, self.ob_shape)
        stacks = self.window.stack(obs)
        if single:
            return self.form.to_actions(self.window.next(lambda: self._plans(stacks)[0]))
        return self.form.to_actions(self._plans(stacks)[:, 0])

    def _plans(self, stacks: np.ndarray) -> np.ndarray:
        """Return the labels of N plans, `(N, chunk, *shape of one label)`."""
        labels = self.inner.get_action(stacks[0])[None] if len(stacks) == 1 else self.inner.get_action(stacks)
        return labels.reshape(len(stacks), self.chunk, *self.form.label_shape)
