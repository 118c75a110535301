import numpy as np
import pytest
from fakes import PICTURE, ConstantActor, CorridorReader, FailingActor, StepCounter, StepModuloThree, walk

from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.infrastructure.dagger import DAgger, Decision, ExpertTeacher, Rule
from rl_il.infrastructure.labelling import label_round
from rl_il.infrastructure.rollouts import sample_trajectory
from rl_il.policies.actors import ScriptedActor
from rl_il.types import EXPERT, LEARNER, Trajectory


def label_with(expert, trajectory, rule=None):
    (labelled,) = label_round([trajectory], rule or DAgger(), ExpertTeacher(expert), np.random.default_rng(0))
    return labelled


def roll_out(env_name, learner, expert, rule, seed=3):
    return sample_trajectory(make_env(env_name), learner, seed, rule=rule, teacher=ExpertTeacher(expert))


# Labels --------------------------------------------------------------------------------------------------


def test_every_state_gets_the_experts_action():
    before = walk(5, source=np.full(5, LEARNER, np.int8), terminated=False, truncated=True)
    labelled = label_with(StepModuloThree(), before)
    np.testing.assert_array_equal(labelled.labels, [0, 1, 2, 0, 1])
    assert labelled.labelled_steps.all()
    assert labelled.labels.dtype == np.int64
    for name in ("obs", "acs", "rewards", "source"):  # the executed actions stay
        np.testing.assert_array_equal(getattr(labelled, name), getattr(before, name))
    assert (labelled.terminated, labelled.truncated) == (False, True)
    assert before.expert_acs is None


def test_continuous_labels_are_not_clipped():
    before = Trajectory(np.ones((4, 2), np.float32), np.zeros((3, 2), np.float32), np.zeros(3))
    labelled = label_with(ScriptedActor(lambda obs: 5 * np.float64(obs), (2,)), before)
    np.testing.assert_array_equal(labelled.labels, np.full((3, 2), 5))
    np.testing.assert_array_equal(labelled.acs, np.zeros((3, 2)))


class EverySecond(Rule):
    def select(self, trajectories, budget, rng):
        return [np.arange(len(trajectory)) % 2 == 0 for trajectory in trajectories]


class Nothing(Rule):
    def select(self, trajectories, budget, rng):
        return [np.zeros(len(trajectory), bool) for trajectory in trajectories]


@pytest.mark.parametrize(
    ("rule", "asked"), [(Rule(), [0, 1, 2, 3, 4, 5]), (EverySecond(), [0, 2, 4]), (Nothing(), None)]
)
def test_the_expert_is_asked_once_about_the_selected_states(rule, asked):
    questions = []
    expert = ScriptedActor(lambda obs: questions.append(obs[:, 0].tolist()) or np.zeros(len(obs), int), (2,))
    labelled = label_with(expert, walk(6), rule)
    assert questions == ([asked] if asked else [])
    np.testing.assert_array_equal(labelled.labelled_steps.nonzero()[0], asked or [])
    np.testing.assert_array_equal(labelled.labels[labelled.labelled_steps], 0)


class Insisting(ExpertTeacher):
    """A teacher that takes over at even steps and cannot be asked afterwards."""

    def wants(self, ob, own):
        return np.int64(2) if ob[0] % 2 == 0 else None

    def act(self, ob):
        return None  # it has no answer where it does not take over

    def label(self, obs):
        return None


class Interventions(Rule):
    def decide(self, ob, own, teacher):
        wanted = teacher.wants(ob, own)
        return Decision(own, LEARNER) if wanted is None else Decision(wanted, EXPERT)


def test_the_action_of_a_teacher_that_takes_over_is_its_label():
    env, teacher = make_env("Corridor-v0"), Insisting(ConstantActor(0))
    teacher.answers_recorded = False
    rolled = sample_trajectory(env, ConstantActor(1), 2, rule=Interventions(), teacher=teacher)  # of 5 steps
    (labelled,) = label_round([rolled], Interventions(), teacher, np.random.default_rng(0))
    np.testing.assert_array_equal(labelled.acs, [2, 1, 2, 1, 2])
    np.testing.assert_array_equal(labelled.labelled_steps, [True, False, True, False, True])
    np.testing.assert_array_equal(labelled.labels[labelled.labelled_steps], [2, 2, 2])
    np.testing.assert_array_equal(labelled.consulted, [True, False, True, False, True])


@pytest.mark.parametrize("chosen", [np.arange(4), np.ones(3, bool)])
def test_a_selection_that_is_no_mask_is_refused(chosen):
    class Wrong(Rule):
        def select(self, trajectories, budget, rng):
            return [chosen]

    with pytest.raises(InputError, match=rf"Wrong.*{chosen.dtype}"):
        label_with(StepModuloThree(), walk(4), Wrong())


@pytest.mark.parametrize("selection", [None, [], [[True] * 4], [None]])
def test_a_selection_that_is_no_list_of_arrays_is_refused(selection):
    class Wrong(Rule):
        def select(self, trajectories, budget, rng):
            return selection

    with pytest.raises(InputError, match=r"Wrong\.select must return"):
        label_with(StepModuloThree(), walk(4), Wrong())


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        (np.zeros(3), r"\(3,\)"),
        (np.zeros(4), "float64"),
        (np.zeros((4, 1), int), r"\(4, 1\)"),
        (np.array([[0, 0], [1, np.nan], [0, 0], [0, 0]]), "row 1"),
    ],
)
def test_labels_that_are_not_actions_are_refused(labels, named):
    acs = np.zeros((4, 2), np.float32) if labels.shape == (4, 2) else np.zeros(4, int)
    with pytest.raises(InputError, match=named):
        label_with(ScriptedActor(lambda obs: labels, (2,)), walk(4, acs=acs))


# The expert as a teacher ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("expert", "afterwards"), [(StepModuloThree(), True), (CorridorReader(), False)])
def test_an_expert_answers_afterwards_unless_it_reads_the_simulator(expert, afterwards):
    teacher = ExpertTeacher(expert)
    assert teacher.answers_recorded is afterwards
    assert (teacher.label(walk(2).obs) is not None) is afterwards
    assert teacher.source == EXPERT
    assert teacher.wants(walk(2).obs[0], np.int64(1)) is None


def test_an_expert_that_reads_the_simulator_labels_during_the_rollout():
    learner = ConstantActor(np.array([0.5, -3.0], np.float32), PICTURE)
    rolled = roll_out("PictureCorridor-v0", learner, StepCounter(), DAgger(), seed=2)
    labelled = label_with(StepCounter(), rolled)
    np.testing.assert_allclose(labelled.labels, [[t / 100] * 2 for t in range(5)])
    np.testing.assert_allclose(labelled.acs, [[0.5, -1.0]] * 5)  # the executed actions are clipped
    assert (labelled.source == LEARNER).all() and labelled.labelled_steps.all()


class Remembering(ConstantActor):
    """An expert whose answer is the number of observations so far: it must see each one once, in order."""

    remembers = True

    def reset(self, seed=0):
        self.seen = 0

    def get_action(self, obs):
        assert obs.shape == self.ob_shape
        self.seen += 1
        return np.int64(self.seen % 3)


@pytest.mark.parametrize("beta_decay", [0, 0.5])
def test_a_teacher_that_remembers_is_asked_once_at_each_step(beta_decay):
    rule = DAgger(beta_decay)
    rule.begin_round(None, None, 1)
    rolled = roll_out("Corridor-v0", ConstantActor(1), Remembering(0), rule)
    np.testing.assert_array_equal(label_with(Remembering(0), rolled).labels, [1, 2, 0, 1, 2, 0])


def test_vanilla_dagger_asks_nobody_while_it_acts():
    rule = DAgger()
    rule.begin_round(None, None, 1)
    rolled = roll_out("Corridor-v0", ConstantActor(1), FailingActor(patience=0), rule)
    np.testing.assert_array_equal(rolled.acs, [1] * 6)
    assert rolled.expert_acs is None and (rolled.source == LEARNER).all()


# Beta ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("itr", [1, 3])
def test_beta_is_how_often_the_expert_acts(itr):
    """Beta_i is p^i (Ross et al.). The tolerance is five standard deviations over 4,000 steps."""
    rule, teacher = DAgger(beta_decay=0.6), ExpertTeacher(StepModuloThree())
    rule.begin_round(None, None, itr)
    rule.begin_episode(seed=1)
    decisions = [rule.decide(np.array([2, 9], np.float32), np.int64(1), teacher) for _ in range(4000)]
    acs, sources = (np.array([getattr(d, name) for d in decisions]) for name in ("action", "source"))
    beta = 0.6**itr
    assert abs((sources == EXPERT).mean() - beta) < 5 * (beta * (1 - beta) / 4000) ** 0.5
    np.testing.assert_array_equal(acs, np.where(sources == EXPERT, 2, 1))


def test_who_acts_follows_from_the_seed_and_is_recorded():
    def mixed(seed):
        rule = DAgger(beta_decay=0.5)
        rule.begin_round(None, None, 1)
        return roll_out("TimedCorridor-v0", ConstantActor(1), StepModuloThree(), rule, seed)

    assert len({tuple(mixed(seed).source) for seed in [4, 4, 4]}) == 1
    assert len({tuple(mixed(seed).source) for seed in range(20)}) > 5
    rolled = mixed(seed=4)
    np.testing.assert_array_equal(rolled.expert_acs, [0, 1, 2, 0, 1])
    np.testing.assert_array_equal(rolled.acs, np.where(rolled.source == EXPERT, rolled.expert_acs, 1))
    assert {*rolled.source.tolist()} == {LEARNER, EXPERT}


# A rule of the user's -------------------------------------------------------------------------------------


class TakeOver(Rule):
    """A rule that asks the teacher twice and lets it act from an episode's third step on, and cuts the episode off
    after the fourth. The second step may not be labelled, and the last one is not selected."""

    def begin_episode(self, seed):
        self.step = 0

    def decide(self, ob, own, teacher):
        self.step += 1
        if self.step < 3:
            return Decision(own, LEARNER, may_label=self.step != 2)
        assert teacher.act(ob) == teacher.act(ob)
        return Decision(teacher.act(ob), teacher.source, end_episode=self.step == 4)

    def select(self, trajectories, budget, rng):
        return [np.arange(len(trajectory)) < len(trajectory) - 1 for trajectory in trajectories]


@pytest.mark.parametrize(
    ("expert", "asked", "again"), [(StepModuloThree, [2, 3], [[0]]), (CorridorReader, [0, 1, 2, 3], [])]
)
def test_an_episode_with_another_rule_by_hand(expert, asked, again):
    class Counting(expert):
        def get_action(self, obs):
            questions.append(obs[..., 0].tolist())
            return super().get_action(obs)

    questions, rule = [], TakeOver()
    rolled = roll_out("Corridor-v0", ConstantActor(1), Counting(), rule)  # of 6 steps, if it were not cut
    assert questions == asked  # once for each step, and only if necessary
    assert (len(rolled), rolled.terminated, rolled.truncated) == (4, False, False)
    np.testing.assert_array_equal(rolled.acs, [1, 1, 2, 0])
    np.testing.assert_array_equal(rolled.source, [LEARNER, LEARNER, EXPERT, EXPERT])
    np.testing.assert_array_equal(rolled.labelled, [True, False, True, True])
    np.testing.assert_array_equal(np.flatnonzero(rolled.consulted), asked)
    labelled = label_with(Counting(), rolled, rule)
    assert questions == asked + again  # afterwards for the selected states without an answer
    np.testing.assert_array_equal(np.flatnonzero(labelled.consulted), sorted({*asked, 0}))
    np.testing.assert_array_equal(labelled.labelled_steps, [True, False, True, False])
    np.testing.assert_array_equal(labelled.labels[labelled.labelled], [0, 2])
    whole = roll_out("Corridor-v0", ConstantActor(1), Counting(), rule, seed=0)  # of 3 steps
    assert (len(whole), whole.terminated) == (3, True)
