"""What a policy remembers during an episode: the last observations and a plan of actions."""

import numpy as np
import pytest
import torch
from fakes import walk

from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.infrastructure.dagger import Decision, Rule, Teacher
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.infrastructure.rollouts import sample_n_trajectories, sample_trajectory
from rl_il.policies.heads import Gaussian
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.policies.policy_file import load_policy
from rl_il.policies.window import Window
from rl_il.types import EXPERT, LEARNER, Actor


def test_a_window_repeats_the_first_view_and_keeps_the_last_ones():
    window = Window(history=3)
    stacks = [window.stack(np.array([[i]]))[0, :, 0].tolist() for i in range(4)]
    assert stacks == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3]]
    window.reset()
    assert window.stack(np.array([[9]]))[0, :, 0].tolist() == [9, 9, 9]
    with pytest.raises(InputError, match="one at a time"):
        window.stack(np.zeros((2, 1)))


def test_a_plan_is_carried_out_and_then_made_again():
    window, plans = Window(execute=2), iter([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    done = [window.next(lambda: np.array(next(plans))) for _ in range(3)]
    window.drop_plan()
    assert [*done, window.next(lambda: np.array(next(plans)))] == [1, 2, 4, 7]


FORMS = {
    "continuous": (2, False),
    "discrete": (3, True),
    "several integers": ((3, 2), True),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("settings", [{"chunk": 4}, {"chunk": 4, "execute": 2, "history": 3}, {"history": 2}])
def test_the_copy_in_numpy_acts_as_the_policy_before_and_after_saving(form, settings, tmp_path):
    ac_dim, discrete = FORMS[form]
    policy = MLPPolicySL((5,), ac_dim, discrete, size=8, seed=3, **settings)
    policy.fit_normalization(np.random.default_rng(1).normal(3, 2, (50, 5)))
    policy.save(tmp_path / "policy.pt")
    actors = [
        policy,
        policy.actor(),
        load_policy(tmp_path / "policy.pt"),
        load_policy(tmp_path / "policy.pt").actor(),
    ]
    assert not isinstance(actors[1], MLPPolicySL)
    rng, found = np.random.default_rng(0), []
    obs = rng.normal(3, 2, (2, 7, 5)).astype(np.float32)
    for actor in actors:
        acs = []
        for episode in obs:
            actor.reset(1)
            acs += [actor.get_action(ob) for ob in episode]
        found.append(np.array(acs))
    for acs in found[1:]:
        np.testing.assert_allclose(acs, found[0], rtol=1e-5, atol=1e-6)
    if "history" not in settings:  # the first action of a fresh plan for each of many observations
        several = [actor.get_action(obs[0]) for actor in actors]
        np.testing.assert_allclose(several[1], several[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(several[0][0], found[0][0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("head", ["gaussian", "mixture", "flow"])
def test_standardised_chunks_are_in_the_units_of_the_actions(head):
    policy = MLPPolicySL((2,), 2, False, size=8, head=head, chunk=3, normalize_acs=True)
    policy.head.fit(np.array([[90, -1], [110, 1]], np.float32))  # means 100 and 0, deviations 10 and 1
    for actor in (policy, policy.actor()):
        actor.reset(1)
        acs = np.array([actor.get_action(np.zeros(2, np.float32)) for _ in range(30)])
        assert acs.shape == (30, 2)
        assert 50 < acs[:, 0].mean() < 150 and abs(acs[:, 1]).max() < 10


def test_actions_follow_from_the_plans_of_the_head():
    policy = MLPPolicySL((2,), 1, False, n_layers=0, chunk=3, execute=2)
    torch.nn.init.zeros_(policy.head.network[0].weight)
    with torch.no_grad():
        policy.head.network[0].weight[:, 0] = torch.tensor([1.0, 10.0, 100.0])  # times the first number
        policy.head.network[0].bias.zero_()
    for actor in (policy, policy.actor()):
        actor.reset()
        acs = [float(actor.get_action(np.array([t, 0], np.float32))[0]) for t in (1, 2, 3, 4)]
        assert acs == [1, 10, 3, 30]
        actor.reset()
        assert float(actor.get_action(np.array([1, 0], np.float32))[0]) == 1
        actor.drop_plan()
        assert float(actor.get_action(np.array([5, 0], np.float32))[0]) == 5


class Alternating(Rule):
    """The expert acts at every third step."""

    def begin_episode(self, seed):
        self.step = 0

    def decide(self, ob, own, teacher):
        self.step += 1
        if self.step % 3 == 0:
            return Decision(teacher.act(ob), EXPERT)
        return Decision(own, LEARNER)


class Twos(Teacher):
    def act(self, ob):
        return 2

    def wants(self, ob, own):
        return None


class Planner(Actor):
    """An actor that counts its plans."""

    ob_shape = (2,)

    def __init__(self):
        self.dropped = []

    def reset(self, seed=0):
        self.steps = 0

    def drop_plan(self):
        self.dropped.append(self.steps)

    def get_action(self, ob):
        self.steps += 1
        return 0


def test_a_plan_is_dropped_after_somebody_elses_step():
    env, actor = make_env("EndlessCorridor-v0"), Planner()
    episode = sample_trajectory(env, actor, seed=1, max_path_length=7, rule=Alternating(), teacher=Twos())
    assert episode.acs.tolist() == [0, 0, 2, 0, 0, 2, 0]
    assert actor.dropped == [3, 6]


def test_training_learns_the_order_of_the_labels_in_a_chunk():
    buffer = ReplayBuffer(chunk=3)
    episode = walk(12, action=0)
    labels = np.arange(12) % 3
    buffer.add([type(episode)(episode.obs, labels, episode.rewards)])
    policy = MLPPolicySL((2,), 3, True, size=32, seed=3, chunk=3, learning_rate=1e-2)
    rng = np.random.default_rng(0)
    for rows in buffer.draws(20, rng, 2000):
        policy.update(*buffer.batch(rows))
    actor = policy.actor()
    actor.reset()
    assert [int(actor.get_action(ob)) for ob in episode.obs[:9]] == [0, 1, 2] * 3
    metrics = policy.validate(*buffer.batch(next(buffer.in_order(100)))[:2])
    assert metrics["Validation Accuracy"] == 1


def test_episodes_of_a_planning_policy_are_equal_in_any_process():
    env = make_env("Corridor-v0")
    actor = MLPPolicySL.for_env(env, size=8, chunk=3, execute=2, history=2).actor()
    episodes = [sample_n_trajectories(env, actor, 3, np.random.default_rng(0)) for _ in range(2)]
    for first, second in zip(*episodes, strict=True):
        np.testing.assert_array_equal(first.acs, second.acs)


class Single(Gaussian):
    """A head of the user's own that predicts one action."""

    chunks = False


def test_a_head_for_one_action_refuses_a_chunk(monkeypatch):
    monkeypatch.setitem(__import__("rl_il.plugins").plugins.HEADS, "single", f"{__name__}:Single")
    assert MLPPolicySL((2,), 1, False, head="single").chunk == 1
    with pytest.raises(InputError, match="--chunk 2"):
        MLPPolicySL((2,), 1, False, head="single", chunk=2)
