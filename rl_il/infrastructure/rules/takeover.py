"""Rules under which the expert takes over from the learner, and labels only the states in which it acts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rl_il.config import RunConfig
from rl_il.errors import InputError
from rl_il.infrastructure.dagger import Decision, Rule, Teacher
from rl_il.infrastructure.rules.arguments import check_name, check_number, check_thresholds
from rl_il.infrastructure.rules.choosing import choose_among, far_from
from rl_il.types import LEARNER, Actor, Trajectory

if TYPE_CHECKING:  # it imports torch, which a worker process does not need
    from rl_il.infrastructure.replay_buffer import ReplayBuffer


class Takeover(Rule):
    """A rule under which the expert acts from `takes_over` until it `hands_back`. Its states get a label."""

    def begin_round(self, snapshot: Actor, data: ReplayBuffer, itr: int) -> None:
        """Store the learner, and the standard deviation of each number of a label."""
        self._learner, self._scale = snapshot, label_scale(data)

    def begin_episode(self, seed: int) -> None:
        """Let the learner act first."""
        self._acting = False

    def decide(self, ob: np.ndarray, own: np.ndarray, teacher: Teacher) -> Decision:
        """Return the expert's action while it has taken over, else the learner's."""
        if self._acting:
            self._acting = not self.hands_back(ob, own, teacher)
        else:
            self._acting = self.takes_over(ob, own, teacher)
        return Decision(teacher.act(ob), teacher.source) if self._acting else Decision(own, LEARNER)

    @abstractmethod
    def takes_over(self, ob: np.ndarray, own: np.ndarray, teacher: Teacher) -> bool:
        """Return whether the expert begins to act at `ob`, where the learner would do `own`."""

    def hands_back(self, ob: np.ndarray, own: np.ndarray, teacher: Teacher) -> bool:
        """Return whether the learner acts again, with `own`. By default: where the expert would not take over."""
        return not self.takes_over(ob, own, teacher)

    def gap(self, own: np.ndarray, answer: np.ndarray) -> float:
        """Return the distance of the learner's action from the expert's, as `distances` does."""
        return float(distances(np.asarray(own)[None], np.asarray(answer)[None], self._scale)[0])

    def select(
        self, trajectories: Sequence[Trajectory], budget: int | None, rng: np.random.Generator
    ) -> list[np.ndarray]:
        """Return the states in which the expert acted. If they are too many, the caller drops some at random."""
        return [t.source != LEARNER for t in trajectories]


class HGDAgger(Takeover):
    """Let the expert take over where it disagrees with the learner, as in HG-DAgger (Kelly et al. 2019,
    arXiv:1810.02890).

    In the paper a person decides when to take over. Here the expert does so where the learner's action is further
    than `threshold` from its own, and hands back where it is at most `release` away. The actions are compared before
    they are clipped. With discrete actions, the action that is done is therefore always the expert's, and the learner
    decides only which states get a label. The expert must look at every step, so all steps count as consulted. The
    paper's risk estimate is left out, since it has no effect on training.

    Args:
      threshold, release: a distance in standard deviations of the labels, or 0 to 1 for discrete actions, where any
        other action has the distance 1. By default they are equal.
      choose: which of the expert's states get a label if the budget is smaller. random: any. kcentre: those that are
        far from all labelled ones, as in `KCentre`. The second is not the paper's.
    """

    stays = ("_labelled",)

    def __init__(self, threshold: float = 0.3, release: float | None = None, choose: str = "random"):
        self.threshold, self.release = check_thresholds(threshold, release)
        self.choose = check_name("choose", choose, ("random", "kcentre"))

    def check_budget(self, config: RunConfig) -> None:
        """Raise `InputError` if states shall be chosen, but all may have a label."""
        super().check_budget(config)
        if self.choose == "kcentre" and config.labels_per_iter is None:
            raise InputError(
                "--rule_kwargs choose=kcentre chooses a number of states; give --labels_per_iter, such as 50"
            )

    def begin_round(self, snapshot: Actor, data: ReplayBuffer, itr: int) -> None:
        """Store the learner, the scale of labels, and the observations that have a label so far."""
        super().begin_round(snapshot, data, itr)
        if self.choose == "kcentre":
            self._labelled = data.labelled_obs().cpu().numpy()

    def select(
        self, trajectories: Sequence[Trajectory], budget: int | None, rng: np.random.Generator
    ) -> list[np.ndarray]:
        """Return the states in which the expert acted or, with `choose=kcentre`, those among them that are far."""
        masks = super().select(trajectories, budget, rng)
        if self.choose == "random":
            return masks
        masks = [mask & t.labelled_steps for mask, t in zip(masks, trajectories, strict=True)]
        return choose_among(trajectories, masks, budget, lambda obs, n: far_from(obs, self._labelled, n))

    def takes_over(self, ob: np.ndarray, own: np.ndarray, teacher: Teacher) -> bool:
        """Return whether the actions differ by more than the threshold."""
        return self.gap(own, teacher.act(ob)) > self.threshold

    def hands_back(self, ob: np.ndarray, own: np.ndarray, teacher: Teacher) -> bool:
        """Return whether the actions differ by no more than `release`."""
        return self.gap(own, teacher.act(ob)) <= self.release


class EnsembleDAgger(HGDAgger):
    """Let the expert act where an ensemble is in doubt, or differs from it (Menda, Driggs-Campbell and Kochenderfer
    2019, "EnsembleDAgger", arXiv:1807.08364).

    The learner acts only if its distance from the expert is at most `threshold` and its networks' disagreement is at
    most `doubt`. In the paper all states are labelled. Here only those are in which the expert acts. The paper
    has no `release` below the `threshold`.

    Args:
      threshold, release: as for HGDAgger.
      doubt: the largest disagreement at which the learner may act, in the unit of the policy's `disagreement`.
    """

    needs_ensemble = True
    asks_learner = True

    def __init__(self, threshold: float = 0.3, release: float | None = None, doubt: float = 0.1):
        super().__init__(threshold, release)
        self.doubt = check_number("doubt", doubt)

    def takes_over(self, ob: np.ndarray, own: np.ndarray, teacher: Teacher) -> bool:
        """Return whether the actions differ too much, or the networks do."""
        return super().takes_over(ob, own, teacher) or self._in_doubt(ob)

    def hands_back(self, ob: np.ndarray, own: np.ndarray, teacher: Teacher) -> bool:
        """Return whether the learner is near to the expert again, and not in doubt."""
        return super().hands_back(ob, own, teacher) and not self._in_doubt(ob)

    def _in_doubt(self, ob: np.ndarray) -> bool:
        return bool(self._learner.disagreement(ob) > self.doubt)


def distances(own: np.ndarray, answers: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return how far the learner's actions are from the expert's, `(N,)` float64.

    For discrete actions it is 0 if all integers are equal, and else 1. For continuous ones it is the root mean square
    of the differences, each divided by its `scale`.
    """
    own, answers = (np.reshape(acs, (len(acs), -1)) for acs in (own, answers))
    if answers.dtype.kind in "iu":
        return (own != answers).any(axis=1).astype(np.float64)
    return np.sqrt((((own - answers) / scale) ** 2).mean(axis=1, dtype=np.float64))


def label_scale(data: ReplayBuffer) -> np.ndarray:
    """Return the standard deviation of each number of the labels, or 1 where they do not vary; 1 for integers."""
    labels = data.labelled_acs()
    if not labels.is_floating_point():
        return np.ones(1)
    std = labels.double().std(dim=0, correction=0).cpu().numpy()
    return np.where(std > 0, std, 1)
