import ast
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_policy import CountingPolicy
from fakes import StepModuloThree, walk

from rl_il.config import RunConfig
from rl_il.envs import make_env
from rl_il.errors import DivergedError, InputError
from rl_il.files import REPOSITORY
from rl_il.infrastructure import rl_trainer
from rl_il.infrastructure.dagger import DAgger, ExpertTeacher
from rl_il.infrastructure.progress import Watch
from rl_il.infrastructure.rl_trainer import RLTrainer
from rl_il.infrastructure.rollouts import sample_trajectory
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.seeding import stream
from rl_il.types import LEARNER

DEMONSTRATIONS = (walk(3, action=2), walk(5, action=1))


class RecordingRule(DAgger):
    """DAgger that keeps (iteration, frozen learner) of each round, and each episode."""

    def __init__(self):
        super().__init__()
        self.rounds, self.trajectories = [], []

    def begin_round(self, snapshot, data, itr):
        super().begin_round(snapshot, data, itr)
        self.rounds.append((itr, snapshot))

    def select(self, trajectories, budget, rng):
        self.trajectories += trajectories
        return super().select(trajectories, budget, rng)


def build(policy=None, demonstrations=DEMONSTRATIONS, n_iter=1, rule=None, watch=None, **settings):
    """Return a trainer in the corridor. With several iterations it is DAgger with the expert `StepModuloThree`."""
    steps = {"num_agent_train_steps_per_iter": 3, "batch_size": 10, "train_batch_size": 4}
    config = RunConfig(env_name="Corridor-v0", n_iter=n_iter, do_dagger=n_iter > 1, **steps | settings)
    parts = (rule or RecordingRule(), ExpertTeacher(StepModuloThree())) if n_iter > 1 else (None, None)
    watched = {"watch": watch} if watch else {}
    return RLTrainer(config, make_env("Corridor-v0"), policy or CountingPolicy(), demonstrations, *parts, **watched)


def network_policy(**settings) -> MLPPolicySL:
    return MLPPolicySL.for_env(make_env("Corridor-v0"), n_layers=1, size=8, seed=3, **settings)


def weights_of(policy) -> dict[str, list]:
    return {name: tensor.tolist() for name, tensor in policy.state_dict().items()}


# The order of the loop -----------------------------------------------------------------------------------


def test_cloning_learns_the_demonstrations_only():
    trainer = build()
    trainer.run_training_loop()
    assert trainer.buffer.acs.tolist() == [2, 2, 2, 1, 1, 1, 1, 1]
    np.testing.assert_array_equal(trainer.buffer.obs[:, 0], [0, 1, 2, 0, 1, 2, 3, 4])
    assert (trainer.counts.expert_labels, trainer.counts.env_steps) == (8, 0)
    assert len(trainer.policy.batches) == 3
    for obs, acs in trainer.policy.batches:
        np.testing.assert_array_equal(acs, np.where(obs[:, 1] == 3, 2, 1))


def test_dagger_adds_the_learners_states_with_the_experts_labels():
    trainer = build(n_iter=3)
    seen = [trainer.buffer.acs.tolist() for _ in trainer.blocks()]
    lengths = [len(trajectory) for trajectory in trainer.rule.trajectories]
    labels = [label for length in lengths for label in np.arange(length) % 3]
    sizes = list(map(len, seen))
    assert sizes[0] == 8
    for before, after in itertools.pairwise(sizes):
        assert 10 <= after - before < 10 + 6  # whole episodes of at most 6 steps
    assert seen == [([2] * 3 + [1] * 5 + labels)[:size] for size in sizes]
    collected = np.concatenate([trajectory.obs[:-1] for trajectory in trainer.rule.trajectories])
    np.testing.assert_array_equal(trainer.buffer.obs[8:], collected)
    assert (trainer.counts.env_steps, trainer.counts.expert_labels) == (sum(lengths), 8 + sum(lengths))


def test_the_learner_acts_from_the_second_iteration_on():
    trainer = build(CountingPolicy(action=2), n_iter=3)
    trainer.run_training_loop()
    assert [itr for itr, _ in trainer.rule.rounds] == [1, 2]
    assert [learner for _, learner in trainer.rule.rounds] == trainer.policy.actors
    for trajectory in trainer.rule.trajectories:
        assert (trajectory.acs == 2).all()
        assert (trajectory.source == LEARNER).all()


def test_collection_uses_new_episodes_each_iteration():
    trainer = build(n_iter=4, ep_len=2)
    trainer.run_training_loop()
    seeds = [seed for _, learner in trainer.rule.rounds for seed in learner.seeds]
    assert len(set(seeds)) == len(seeds) == 15
    assert {len(trajectory) for trajectory in trainer.rule.trajectories} == {2}


@pytest.mark.parametrize("interval", [None, "7", "10,25"])
def test_eager_training_equals_a_plain_torch_loop_to_the_last_digit(interval):
    policy, twin = network_policy(weight_decay=0.1), network_policy()
    trainer = build(policy, num_agent_train_steps_per_iter=50, eval_interval=interval)
    blocks = trainer.run_training_loop()
    obs = torch.from_numpy(np.concatenate([trajectory.obs[:-1] for trajectory in DEMONSTRATIONS]))
    acs = torch.from_numpy(np.concatenate([trajectory.acs for trajectory in DEMONSTRATIONS]))
    optimizer = torch.optim.AdamW(twin.parameters(), lr=5e-3, weight_decay=0.1, fused=True)
    losses = []
    for rows in stream(trainer.config.seed, "training", 0).integers(8, size=(50, 4)):
        loss = -torch.distributions.Categorical(logits=twin.head.network(obs[rows])).log_prob(acs[rows]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(map(torch.equal, policy.parameters(), twin.parameters()))
    assert np.concatenate([block.losses for block in blocks]).tolist() == losses


def test_only_labelled_steps_are_learnt_and_counted():
    trainer = build(demonstrations=[walk(5, labelled=np.array([True, False, True, False, False]))])
    trainer.run_training_loop()
    assert trainer.counts.expert_labels == len(trainer.buffer) == 2
    with pytest.raises(InputError):
        build(demonstrations=[walk(3, labelled=np.zeros(3, bool))]).run_training_loop()


def test_dagger_without_a_rule_is_an_error():
    config = RunConfig(env_name="Corridor-v0", do_dagger=True, n_iter=2)
    with pytest.raises(ValueError, match="rule"):
        RLTrainer(config, make_env("Corridor-v0"), CountingPolicy(), DEMONSTRATIONS)


def test_normalization_is_fitted_on_the_demonstrations_if_asked():
    fitted, other = network_policy(), network_policy()
    build(fitted, n_iter=3, normalize_obs=True).run_training_loop()
    build(other).run_training_loop()
    obs = np.array([[t, length] for length in (3, 5) for t in range(length)])
    np.testing.assert_allclose(fitted.encoder.ob_mean, obs.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(fitted.encoder.ob_std, obs.std(axis=0), rtol=1e-6)
    assert (other.encoder.ob_mean.tolist(), other.encoder.ob_std.tolist()) == ([0, 0], [1, 1])


# Blocks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "interval", "ends", "evaluated"),
    [
        (2500, None, [1000, 2000, 2500], [2500]),
        (20, "3,20", [3, 20], [3, 20]),
        (1100, "500,1050", [500, 1050, 1100], [500, 1050, 1100]),
        (2100, "5,2000", [5, 1005, 2000, 2100], [5, 2000, 2100]),
    ],
)
def test_a_block_ends_where_an_evaluation_is_due(steps, interval, ends, evaluated):
    trainer = build(n_iter=2, num_agent_train_steps_per_iter=steps, eval_interval=interval)
    blocks, places = [], []
    for block in trainer.blocks():
        blocks.append(block)
        places.append((trainer.itr, trainer.steps_done))
    assert [(block.itr, block.steps) for block in blocks] == [(itr, end) for itr in (0, 1) for end in ends]
    assert places == [(0, end) for end in ends[:-1]] + [(1, 0)] + [(1, end) for end in ends[:-1]] + [(2, 0)]
    assert [block.steps for block in blocks if block.evaluate] == 2 * evaluated
    assert [block.steps for block in blocks if block.ends_iteration] == [steps] * 2
    assert [block.gradient_steps for block in blocks] == ends + [steps + end for end in ends]
    losses = np.concatenate([block.losses for block in blocks])
    np.testing.assert_array_equal(losses, np.arange(2 * steps))  # the fake policy counts its updates
    assert [block.counts.expert_labels for block in blocks] == [8] * len(ends) + [trainer.counts.expert_labels] * len(
        ends
    )
    assert [block.counts.env_steps for block in blocks] == [0] * len(ends) + [trainer.counts.env_steps] * len(ends)
    assert [len(block.trajectories) for block in blocks if block.steps != ends[0]] == [0] * 2 * len(ends[1:])
    firsts = [block.trajectories for block in blocks if block.steps == ends[0]]
    assert firsts[0] == DEMONSTRATIONS
    assert sum(map(len, firsts[1])) == trainer.counts.env_steps
    assert all(trajectory.expert_acs is not None for trajectory in firsts[1])


@pytest.mark.parametrize(
    ("settings", "updates"),
    [
        ({"num_agent_train_steps_per_iter": 7}, [4] * 7),
        ({"n_epochs": 1}, [4, 4]),
        ({"n_epochs": 3, "train_batch_size": 3}, [3, 3, 2] * 3),
        ({"n_epochs": 3, "train_batch_size": 3, "eval_interval": "2"}, [3, 3, 2] * 3),
        ({"n_epochs": 2, "train_batch_size": 100}, [8, 8]),
    ],
)
def test_minibatches_of_eight_rows(settings, updates):
    trainer = build(**settings)
    trainer.run_training_loop()
    batches = trainer.policy.batches
    assert [len(acs) for _, acs in batches] == updates
    if "n_epochs" in settings:  # each pass has every row once
        rows = np.sort(np.concatenate([obs @ [10, 1] for obs, _ in batches]).reshape(settings["n_epochs"], 8))
        np.testing.assert_array_equal(rows, [np.sort(trainer.buffer.obs.numpy() @ [10, 1])] * settings["n_epochs"])


def poison(policy, step: int, what: str) -> None:
    """Make this update of the policy end with a loss or a weight that is not-a-number."""
    update, calls = policy.update, []

    def poisoned(*batch):
        calls.append(update(*batch))
        if len(calls) == step and what == "weight":
            with torch.no_grad():
                next(policy.parameters()).fill_(np.nan)
        return {"Training Loss": np.nan} if len(calls) == step and what == "loss" else calls[-1]

    policy.update = poisoned


@pytest.mark.parametrize(("what", "named"), [("loss", 13), ("weight", 20)])  # weights are checked after a block
def test_after_divergence_the_policy_has_the_weights_from_before_the_block(what, named):
    policy, other = network_policy(), network_policy()
    poison(policy, 13, what)
    trainer = build(policy, num_agent_train_steps_per_iter=30, eval_interval="10")
    with pytest.raises(DivergedError, match="iteration 0") as error:
        trainer.run_training_loop()
    build(other, num_agent_train_steps_per_iter=10).run_training_loop()
    assert weights_of(policy) == weights_of(other)
    assert "--learning_rate" in str(error.value)
    if what == "loss":
        assert f"minibatch {named} " in str(error.value)


# Validation ----------------------------------------------------------------------------------------------


def test_held_out_rows_are_never_trained_on():
    demonstrations = [walk(length) for length in range(50, 80)]
    trainer = build(demonstrations=demonstrations, val_fraction=0.3, n_epochs=1)
    trainer.run_training_loop()
    everything = {tuple(ob) for trajectory in demonstrations for ob in trajectory.obs[:-1].tolist()}
    training = {tuple(ob) for ob in trainer.buffer.obs.tolist()}
    held_out = {tuple(ob) for ob in trainer.validation.obs.tolist()}
    assert not training & held_out
    assert training | held_out == everything
    assert len(held_out) / len(everything) == pytest.approx(0.3, abs=0.04)
    assert {tuple(ob) for obs, _ in trainer.policy.batches for ob in obs.tolist()} == training
    assert trainer.counts.expert_labels == len(everything)


def test_steps_are_held_out_in_every_iteration():
    trainer = build(n_iter=3, val_fraction=0.5, batch_size=200, demonstrations=[walk(60)])
    held_out = [len(trainer.validation) for _ in trainer.blocks()]
    assert 0 < held_out[0] < held_out[1] < held_out[2]
    assert len(trainer.buffer) + len(trainer.validation) == trainer.counts.expert_labels


# Random streams ---------------------------------------------------------------------------------------------------


def test_only_the_streams_of_the_seed_matter(monkeypatch):
    def train(between, **settings):
        settings |= {"n_iter": 3, "val_fraction": 0.2, "batch_size": 40, "seed": 7}
        trainer = build(network_policy(), [walk(60)], rule=DAgger(), **settings)
        for _ in trainer.blocks():
            between(trainer)
        return weights_of(trainer.policy), trainer.buffer.obs.tolist()

    def disturb(trainer):
        sample_trajectory(trainer.env, trainer.policy.actor(), seed=1)
        torch.rand(1), np.random.random()

    used = []
    monkeypatch.setattr(rl_trainer, "stream", lambda *key: used.append(key) or stream(*key))
    plain = train(lambda _: None)
    expected = [(7, purpose, itr) for purpose in ("validation", "training") for itr in range(3)]
    expected += [(7, purpose, itr) for purpose in ("collection", "selection") for itr in (1, 2)]
    assert sorted(used) == sorted(expected)  # no stream is used twice
    assert train(disturb, eval_interval="2") == plain


# Progress of slow work -----------------------------------------------------------------------------------------


def test_progress_of_slow_work_is_shown():
    watched = []

    def watch(items, kind, itr, total=None, done=0):
        watched.append((kind, itr, total, done))
        return items

    build(n_iter=2, watch=watch, eval_interval="2").run_training_loop()
    first, collected = [("train", 0, 3, 0), ("train", 0, 3, 2)], ("collect", 1, None, 0)
    assert watched == [*first, collected, ("train", 1, 3, 0), ("train", 1, 3, 2)]


@pytest.mark.parametrize("verbose", [False, True])
def test_episodes_that_are_no_longer_needed_are_closed(monkeypatch, verbose):
    begun = []

    def begin_episodes(*args, begin=rl_trainer.begin_episodes, **kwargs):
        begun.append(begin(*args, **kwargs))
        return begun[-1]

    monkeypatch.setattr(rl_trainer, "begin_episodes", begin_episodes)
    build(n_iter=2, watch=Watch(1, verbose)).run_training_loop()
    assert [list(episodes) for episodes in begun] == [[]]


# What the trainer must not do --------------------------------------------------------------------------


def test_the_trainer_is_short_and_does_not_log_draw_or_print():
    text, imported = Path(rl_trainer.__file__).read_text(), set()
    classes = {node.name: node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)}
    assert len(text.splitlines()) <= 170
    assert len([node for node in classes["RLTrainer"].body if isinstance(node, ast.FunctionDef)]) <= 10
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            imported |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        assert not (isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "open"))
    forbidden = "time signal logging tqdm tensorboardX matplotlib pathlib rl_il.runs rl_il.files".split()
    forbidden += [f"rl_il.infrastructure.{name}" for name in ("progress", "video", "evaluation", "workers")]
    assert not {name for name in imported for bad in forbidden if f"{name}.".startswith(f"{bad}.")}


def assignments_to_a_trainer(tree: ast.Module) -> list[int]:
    """Return the line numbers where an attribute of a variable named `trainer` is assigned."""
    stored = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store | ast.Del)]
    found = [(node.lineno, node.value) for node in stored]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("setattr", "delattr", "vars"):
            found.append((node.lineno, node.args[0]))
    return sorted(line for line, target in found if ast.unparse(target).split(".")[-1] == "trainer")


def test_nobody_assigns_a_trainers_attributes_from_outside():
    lines = ["run.trainer.a = trainer.b = 1", "for trainer.a, b in c: pass", "setattr(x.trainer, 'a', 1)"]
    lines += ["vars(trainer)['a'] = 1", "trainer = c; trainer.policy.a = 1; self.trainer = trainer"]
    assert assignments_to_a_trainer(ast.parse("\n".join(lines))) == [1, 1, 2, 3, 4]
    files = [*REPOSITORY.glob("rl_il/**/*.py"), *REPOSITORY.glob("scripts/**/*.py")]
    assert len(files) > 50
    found = {str(path): assignments_to_a_trainer(ast.parse(path.read_text())) for path in files}
    assert {path: lines for path, lines in found.items() if lines} == {}
