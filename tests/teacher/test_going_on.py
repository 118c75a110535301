"""A lesson goes on from a checkpoint that it could have written, and from no other."""

from contextlib import ExitStack

import fakes  # noqa: F401  (registers the corridors)
import pytest
import torch
from checkpoints import as_text, change, moments, state_file, table_of

from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.infrastructure.checkpoint import Checkpoints
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.teacher.labels import Labels
from rl_il.teacher.learner import Learner
from rl_il.teacher.recording import read_learning
from rl_il.teacher.settings import TeachConfig
from rl_il.teacher.teaching import open_teaching

SMALL = {"size": 3, "n_layers": 1, "updates_per_step": 1, "train_batch_size": 2, "publish_every": 2}
CONFIG = TeachConfig(env_name="TimedCorridor-v0", mode="demonstrate", eval_every=-1, **SMALL)


def opened(stack, folder, resume=None):
    return open_teaching(stack, TeachConfig(**{**vars(CONFIG), "logdir": str(folder)}), inline=True, resume=resume)


@pytest.fixture
def stopped(tmp_path):
    """The folder of a lesson after an episode of five steps, and one that was ended after two."""
    with ExitStack() as stack:
        teaching = opened(stack, tmp_path / "run")
        for _ in range(8):  # the sixth starts the second episode
            teaching.session.step()
        teaching.session.reset()
        teaching.close()
    return tmp_path / "run"


def test_a_lesson_s_own_checkpoint_is_taken_over(stopped):
    with ExitStack() as stack:
        teaching = opened(stack, stopped, resume=stopped)
        assert [episode["ended"] for episode in teaching.metrics.history] == ["truncated", "reset"]
        assert [(row["iteration"], row["Updates"]) for row in teaching.metrics.logger.rows] == [(0, 5), (1, 7)]
        assert (teaching.learner.updates, teaching.learner.newest.number, len(teaching.labels)) == (7, 3, 7)
        teaching.abandon()


def test_a_learner_that_is_far_behind_goes_on(stopped):
    with ExitStack() as stack:
        teaching = opened(stack, stopped, resume=stopped)
        teaching.learner._owe(10**6)  # at most 1,000 wait
        teaching.learner._owe(-1)
        teaching.recording.save_learning(
            2, teaching.learner.policy, teaching.learner.state(), {"rows": [], "history": []}
        )
        assert teaching.recording.load_learning()["owed"] == 999
        teaching.abandon()


def log_of(rows=(), history=()):
    return {"log": as_text({"rows": list(rows), "history": list(history)})}


EPISODE = {"type": "episode", "episode": 0, "return": 1.0, "length": 3, "intervention_rate": 0.5}
EPISODE |= {"labels": {"human": 1, "approved": 0}, "snapshot": 0, "updates": 2, "loss": None, "source": "teach"}
EPISODE |= {"ended": "reset", "snapshot_return": None}


def episode(**changed):
    return lambda state: state.update(log_of(history=[EPISODE | changed]))


WRONG = {
    "a loss that is a tensor": (lambda s: s.update(loss=torch.ones(3, 2)), "loss must be a number"),
    "a loss that is none": (lambda s: s.update(loss=float("nan")), "loss must be a number"),
    "steps owed that are none": (lambda s: s.update(owed=None), "owed must be a number"),
    "steps owed below 0": (lambda s: s.update(owed=-1.0), "owed must be between 0 and 1000"),
    "too many steps owed": (lambda s: s.update(owed=1e300), "owed must be between 0 and 1000"),
    "a weight that is none": (lambda s: s["snapshot"]["ob_std"].fill_(float("inf")), "ob_std holds NaN or infinity"),
    "a moment that is none": (lambda s: moments(s)[0].fill_(float("nan")), "first moments hold NaN or infinity"),
    "a square below 0": (lambda s: moments(s, "second")[0].fill_(-1), "second moments hold NaN or numbers below 0"),
    "an optimiser in a list": (lambda s: s.update(optimizer=[1]), "Adam's state must have the lists"),
    "a row of words": (lambda s: s.update(log_of([{"iteration": 0, "a": "b"}])), "a row must hold numbers"),
    "a row of nowhere": (lambda s: s.update(log_of([{"a": 1}])), "a row must have an iteration"),
    "a name that is no text": (lambda s: s.update(log_of([{"iteration": 0, "\ud800": 1}])), "names that can be"),
    "rows that make no table": (lambda s: s.update(log_of(table_of(5000))), "too few names to be one table"),
    "half an episode": (lambda s: s.update(log_of(history=[{"type": "episode"}])), "the history must hold"),
    "more than an episode": (episode(more=[[[]]]), "the history must hold"),
    "an episode of another type": (episode(type="frame"), "the history must hold"),
    "an episode of no steps": (episode(length=0), "the history must hold"),
    "more than every step": (episode(intervention_rate=1.5), "the history must hold"),
    "labels of nobody": (episode(labels={"human": 1, "approved": 0, "x": "y"}), "the history must hold"),
    "labels that are no counts": (episode(labels={"human": 1, "approved": 0.5}), "the history must hold"),
    "an episode's loss that is none": (episode(loss=float("nan")), "the history must hold"),
    "a mode that there isn't": (episode(source=["teach"]), "the history must hold"),
    "no end": (episode(ended=None), "the history must hold"),
    "a snapshot's return that is none": (episode(snapshot_return="x"), "the history must hold"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_checkpoint_is_refused_by_name(stopped, name):
    update, message = WRONG[name]
    change(stopped, update)
    with ExitStack() as stack, pytest.raises(InputError) as caught:
        opened(stack, stopped, resume=stopped)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{state_file(stopped)}: is no checkpoint of this run (")


def test_the_episode_that_the_wrong_ones_begin_with_is_right(stopped):
    change(stopped, episode())
    assert Checkpoints(stopped, read_learning).load()[0]["history"] == [EPISODE]


class WithTorchsAdam(MLPPolicySL):
    @property
    def optimizer(self):
        return self.__dict__.setdefault("own", torch.optim.Adam(self.parameters(), lr=0.01))


def learner_of(policy_class):
    policy = policy_class.for_env(make_env("Corridor-v0"), n_layers=1, size=3)
    return Learner(policy, Labels("human", 1, ReplayBuffer(10)), seed=1)


def test_another_optimiser_s_state_that_does_not_fit_is_refused_and_nothing_is_changed():
    learner = learner_of(WithTorchsAdam)
    state = learner_of(MLPPolicySL).state() | {"updates": 9}
    state["policy"] = {name: tensor + 1 for name, tensor in state["policy"].items()}
    before = {name: tensor.clone() for name, tensor in learner.policy.state_dict().items()}
    with pytest.raises(InputError, match="the optimiser's state does not fit"):
        learner.restore(state)
    assert learner.updates == 0
    assert all(torch.equal(learner.policy.state_dict()[name], tensor) for name, tensor in before.items())
