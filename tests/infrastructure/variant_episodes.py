"""Rounds of a rule in the corridor, with a learner and an expert whose answers are known."""

import numpy as np
from fakes import ConstantActor, StepModuloThree, walk

from rl_il.envs import make_env
from rl_il.infrastructure.dagger import ExpertTeacher
from rl_il.infrastructure.labelling import label_round
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.infrastructure.rollouts import sample_trajectory
from rl_il.policies.actors import ScriptedActor
from rl_il.types import ActionForm

TRAIN = "rl_il.infrastructure.rules.safe.train_network"


class Doubting(ConstantActor):
    """A learner whose networks disagree by a tenth of the steps so far."""

    form = ActionForm.from_settings(3, True)
    ensemble = 2

    def disagreement(self, obs):
        return obs[..., 0] / 10


class Still(ConstantActor):
    """A learner in the continuous corridor, with one action."""

    form = ActionForm.from_settings(2, False)

    def __init__(self, *action):
        super().__init__(np.array(action, np.float32))


def demonstrated(*trajectories):
    """Return a buffer with the labels of the trajectories."""
    buffer = ReplayBuffer()
    buffer.add(trajectories or [walk(6, acs=np.arange(6) % 3)])
    return buffer


def roll_out(rule, learner=None, env_name="Corridor-v0", expert=None, data=None, budget=None):
    """Return the labelled episode of a round, which has 6 steps in the corridor.

    By default the learner always does 1, the expert does 0 1 2 0 1 2, and so do the demonstrations.
    """
    learner, teacher = learner or Doubting(1), ExpertTeacher(expert or StepModuloThree())
    rule.begin_round(learner, data or demonstrated(), 1)
    rolled = sample_trajectory(make_env(env_name), learner, 3, rule=rule, teacher=teacher)
    (labelled,) = label_round([rolled], rule, teacher, np.random.default_rng(0), budget)
    return labelled


def continuous(rule):
    """Return an episode in which the learner's distances from the expert are 0.2, 0.4, 0.2, 0.2, 0.05 and 0.4."""
    at = np.array([0.2, 0.4, 0.2, 0.2, 0.05, 0.4])
    expert = ScriptedActor(lambda obs: np.float32(at[obs[:, 0].astype(int)][:, None] * [1, 2]), (2,))
    return roll_out(rule, Still(0, 0), "CorridorContinuous-v0", expert, demonstrated(to_and_fro()))


def to_and_fro():
    """Return a demonstration whose labels have the means 0 and the standard deviations 1 and 2."""
    return walk(6, acs=np.array([[-1, -2], [1, 2]] * 3, np.float32))


def choose(rule, budget, *trajectories, learner=None, data=None, chunk=1):
    """Return the labelled steps of each trajectory, and the labelled trajectories."""
    rule.begin_round(learner or Doubting(1), data or demonstrated(), 1)
    teacher = ExpertTeacher(StepModuloThree())
    done = label_round(trajectories, rule, teacher, np.random.default_rng(0), budget, chunk)
    return [labelled(each) for each in done], done


def judge_at(*steps):
    """Return a classifier that says yes at these steps, in the place of `train_network`."""
    return lambda *_: ScriptedActor(lambda obs: np.isin(obs[:, 0], steps).astype(int), (2,))


def sources(trajectory):
    """Return who acted at each step: L for the learner, E for the expert."""
    return "".join("LE"[source] for source in trajectory.source)


def labelled(trajectory):
    """Return the steps that have a label."""
    return np.flatnonzero(trajectory.labelled_steps).tolist()
