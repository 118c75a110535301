import itertools
import json

import numpy as np
import pytest
import torch
from fakes import ConstantActor, CountingPolicy, StepModuloThree, walk
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rl_il.config import RunConfig
from rl_il.dagger import DAgger
from rl_il.envs import make_env
from rl_il.errors import InputError
from rl_il.infrastructure import rl_trainer
from rl_il.infrastructure.logger import Logger
from rl_il.infrastructure.rl_trainer import RLTrainer
from rl_il.infrastructure.rollouts import begin_episodes
from rl_il.infrastructure.scalars import agreement
from rl_il.infrastructure.seeding import stream
from rl_il.infrastructure.workers import RolloutWorkers
from rl_il.policies.actors import ScriptedActor
from rl_il.policies.mlp_policy import MLPPolicySL
from rl_il.types import LEARNER, Trajectory

COURSE_SCALARS = {f"Eval_{name}" for name in "AverageReturn StdReturn MaxReturn MinReturn AverageEpLen".split()}
COURSE_SCALARS |= {f"Train_{name}" for name in "AverageReturn StdReturn MaxReturn MinReturn AverageEpLen".split()}
COURSE_SCALARS |= {"Train_EnvstepsSoFar", "TimeSinceStart", "Training Loss"}

DEMONSTRATIONS = (walk(3, action=2), walk(5, action=1))  # returns 6 and 5


class RecordingRule(DAgger):
    """Keeps each episode as it came, with who was said to act."""

    def __init__(self, expert):
        super().__init__(expert)
        self.learners, self.trajectories = [], []

    def actor(self, learner, itr):
        self.learners.append((itr, learner))
        return super().actor(learner, itr)

    def label(self, trajectory):
        self.trajectories.append(trajectory)
        return super().label(trajectory)


class WatchedTrainer(RLTrainer):
    """Keeps the buffer's and the validation set's labels as they are when each iteration's training starts."""

    def train(self, itr):
        self.__dict__.setdefault("seen", []).append((self.buffer.acs.tolist(), len(self.validation)))
        return super().train(itr)


def build(policy=None, demonstrations=DEMONSTRATIONS, n_iter=1, env_name="Corridor-v0", logger=None, **settings):
    """A trainer in the corridor; with more than one iteration, DAgger with the expert `StepModuloThree`."""
    steps = {"num_agent_train_steps_per_iter": 3, "batch_size": 10, "train_batch_size": 4, "video_log_freq": -1}
    config = RunConfig(env_name=env_name, n_iter=n_iter, do_dagger=n_iter > 1, **steps | settings)
    return WatchedTrainer(
        config,
        make_env(env_name),
        policy or CountingPolicy(),
        demonstrations,
        rule=RecordingRule(StepModuloThree()) if n_iter > 1 else None,
        expert=StepModuloThree() if n_iter > 1 else None,
        logger=logger,
        n_eval_episodes=6,
        verbose=False,
    )


def network_policy(**settings) -> MLPPolicySL:
    return MLPPolicySL.for_env(make_env("Corridor-v0"), n_layers=1, size=8, seed=3, **settings)


def without_times(results) -> list[dict[str, float]]:
    return [{name: value for name, value in r.scalars.items() if name != "TimeSinceStart"} for r in results]


# The order of the loop -----------------------------------------------------------------------------------


def test_cloning_learns_the_demonstrations_only():
    trainer = build()
    trainer.run_training_loop()
    assert trainer.seen == [([2, 2, 2, 1, 1, 1, 1, 1], 0)]
    np.testing.assert_array_equal(trainer.buffer.obs[:, 0], [0, 1, 2, 0, 1, 2, 3, 4])
    assert trainer.expert_labels == 8
    assert trainer.env_steps == 0
    for obs, acs in trainer.policy.batches:
        np.testing.assert_array_equal(acs, np.where(obs[:, 1] == 3, 2, 1))


def test_dagger_adds_the_learners_states_with_the_experts_labels():
    trainer = build(n_iter=3)
    trainer.run_training_loop()
    lengths = [len(trajectory) for trajectory in trainer.rule.trajectories]
    labels = [label for length in lengths for label in np.arange(length) % 3]
    sizes = [len(acs) for acs, _ in trainer.seen]
    assert sizes[0] == 8
    for before, after in itertools.pairwise(sizes):
        assert 10 <= after - before < 10 + 6  # whole episodes of at most 6 steps
    assert [acs for acs, _ in trainer.seen] == [([2] * 3 + [1] * 5 + labels)[:size] for size in sizes]
    collected = np.concatenate([trajectory.obs[:-1] for trajectory in trainer.rule.trajectories])
    np.testing.assert_array_equal(trainer.buffer.obs[8:], collected)
    assert trainer.env_steps == sum(lengths)
    assert trainer.expert_labels == 8 + sum(lengths)


def test_the_learner_acts_from_the_second_iteration_on():
    trainer = build(CountingPolicy(action=2), n_iter=3)
    trainer.run_training_loop()
    assert [itr for itr, _ in trainer.rule.learners] == [1, 2]
    assert all(learner in trainer.policy.actors for _, learner in trainer.rule.learners)
    for trajectory in trainer.rule.trajectories:
        assert (trajectory.acs == 2).all()
        assert (trajectory.source == LEARNER).all()


def test_collection_uses_new_episodes_each_iteration():
    trainer = build(n_iter=4)
    trainer.run_training_loop()
    seeds = [seed for _, learner in trainer.rule.learners for seed in learner.seeds]
    assert len(set(seeds)) == len(seeds) >= 6


def test_eager_training_is_the_textbook_s_to_the_last_digit():
    policy, twin = network_policy(weight_decay=0.1), network_policy()
    trainer = build(policy, num_agent_train_steps_per_iter=50)
    trainer.run_training_loop()
    obs = torch.from_numpy(np.concatenate([trajectory.obs[:-1] for trajectory in DEMONSTRATIONS]))
    acs = torch.from_numpy(np.concatenate([trajectory.acs for trajectory in DEMONSTRATIONS]))
    optimizer = torch.optim.AdamW(twin.parameters(), lr=5e-3, weight_decay=0.1, fused=True)
    for rows in stream(trainer.config.seed, "training", 0).integers(8, size=(50, 4)):
        loss = -torch.distributions.Categorical(logits=twin.network(obs[rows])).log_prob(acs[rows]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(map(torch.equal, policy.parameters(), twin.parameters()))


def test_training_goes_on_from_the_weights_it_has():
    policy = network_policy()
    trainer = build(policy, n_iter=3, num_agent_train_steps_per_iter=7)
    trainer.run_training_loop()
    assert {count.item() for count in policy.optimizer.counts} == {21}


def test_a_rule_that_labels_some_steps_costs_that_many_labels():
    demonstration = walk(5, labelled=np.array([True, False, True, False, False]))
    trainer = build(demonstrations=[demonstration])
    trainer.run_training_loop()
    assert trainer.expert_labels == len(trainer.buffer) == 2


def test_dagger_without_a_rule_is_an_error():
    config = RunConfig(env_name="Corridor-v0", do_dagger=True, n_iter=2)
    with pytest.raises(ValueError, match="collection rule"):
        RLTrainer(config, make_env("Corridor-v0"), CountingPolicy(), DEMONSTRATIONS)


def test_the_episode_length_limits_collection_and_evaluation():
    trainer = build(n_iter=2, ep_len=2)
    results = trainer.run_training_loop()
    assert {len(trajectory) for trajectory in trainer.rule.trajectories} == {2}
    assert all((result.lengths == 2).all() for result in results)


# Training ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "updates"),
    [
        ({"num_agent_train_steps_per_iter": 7}, [4] * 7),
        ({"n_epochs": 1}, [4, 4]),
        ({"n_epochs": 3, "train_batch_size": 3}, [3, 3, 2] * 3),
        ({"n_epochs": 2, "train_batch_size": 100}, [8, 8]),
    ],
)
def test_minibatches_of_eight_rows(settings, updates):
    trainer = build(**settings)
    trainer.run_training_loop()
    assert [len(acs) for _, acs in trainer.policy.batches] == updates


@pytest.mark.parametrize(("n_steps", "mean"), [(1, 0), (4, 1.5), (100, 49.5), (250, 199.5)])
def test_the_training_loss_is_the_mean_of_the_last_hundred_minibatches(n_steps, mean):
    (result,) = build(num_agent_train_steps_per_iter=n_steps).run_training_loop()
    assert result.scalars["Training Loss"] == mean


def test_held_out_rows_are_never_trained_on():
    demonstrations = [walk(length, action=1) for length in range(50, 80)]
    trainer = build(CountingPolicy(), demonstrations, val_fraction=0.3, n_epochs=1)
    (result,) = trainer.run_training_loop()
    everything = {tuple(ob) for trajectory in demonstrations for ob in trajectory.obs[:-1].tolist()}
    training = {tuple(ob) for ob in trainer.buffer.obs.tolist()}
    held_out = {tuple(ob) for ob in trainer.validation.obs.tolist()}
    assert not training & held_out
    assert training | held_out == everything
    assert len(trainer.buffer) + len(trainer.validation) == len(everything)
    assert len(held_out) / len(everything) == pytest.approx(0.3, abs=0.04)
    assert {tuple(ob) for obs, _ in trainer.policy.batches for ob in obs.tolist()} == training
    assert result.scalars["Validation Loss"] == len(held_out)
    assert trainer.expert_labels == len(everything)


def test_steps_are_held_out_in_every_iteration():
    trainer = build(n_iter=3, val_fraction=0.5, batch_size=200, demonstrations=[walk(60)])
    trainer.run_training_loop()
    held_out = [n for _, n in trainer.seen]
    assert 0 < held_out[0] < held_out[1] < held_out[2]
    assert len(trainer.buffer) + len(trainer.validation) == trainer.expert_labels


@pytest.mark.parametrize("val_fraction", [0.01, 0.99])
def test_a_short_demonstration_may_be_held_out_not_at_all_or_wholly(val_fraction):
    demonstrations = [walk(3), walk(3), *(walk(60) for _ in range(5))]
    trainer = build(demonstrations=demonstrations, val_fraction=val_fraction)
    trainer.run_training_loop()
    assert len(trainer.buffer) + len(trainer.validation) == 306


def test_nothing_is_validated_unless_asked():
    (result,) = build().run_training_loop()
    assert "Validation Loss" not in result.scalars


def test_normalization_is_fitted_on_the_demonstrations():
    policy = network_policy()
    build(policy, n_iter=3, normalize_obs=True).run_training_loop()
    obs = np.array([[t, length] for length in (3, 5) for t in range(length)])
    np.testing.assert_allclose(policy.ob_mean, obs.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(policy.ob_std, obs.std(axis=0), rtol=1e-6)


def test_normalization_is_left_out_unless_asked():
    policy = network_policy()
    build(policy).run_training_loop()
    assert policy.ob_mean.tolist() == [0, 0]
    assert policy.ob_std.tolist() == [1, 1]


# Evaluation ----------------------------------------------------------------------------------------------


def evaluation_seeds(trainer) -> list[list[int]]:
    """The seeds of each evaluation's episodes; each evaluation has its frozen actor."""
    learners = [learner for _, learner in trainer.rule.learners]
    return [actor.seeds for actor in trainer.policy.actors if actor not in learners]


def test_each_evaluation_has_fresh_seeds_that_repeat_with_the_root_seed():
    first, again, other = (build(n_iter=3, seed=seed) for seed in (1, 1, 2))
    for trainer in (first, again, other):
        trainer.run_training_loop()
    seeds = evaluation_seeds(first)
    assert [len(s) for s in seeds] == [6, 6, 6]
    assert evaluation_seeds(again) == seeds
    everything = list(itertools.chain(*seeds, *evaluation_seeds(other)))
    everything += [seed for _, learner in first.rule.learners for seed in learner.seeds]
    assert len(set(everything)) == len(everything)


def test_evaluation_by_hand():
    trainer = build(CountingPolicy(action=2), n_iter=2)
    result = trainer.run_training_loop()[0]
    lengths = np.array([3 + seed % 4 for seed in evaluation_seeds(trainer)[0]])
    np.testing.assert_array_equal(result.lengths, lengths)
    np.testing.assert_array_equal(result.returns, 2 * lengths)
    expected = {
        "Eval_AverageReturn": 2 * lengths.mean(),
        "Eval_StdReturn": np.sqrt(np.mean((2 * lengths - 2 * lengths.mean()) ** 2)),
        "Eval_MaxReturn": 2 * lengths.max(),
        "Eval_MinReturn": 2 * lengths.min(),
        "Eval_AverageEpLen": lengths.mean(),
    }
    assert {name: result.scalars[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("n_iter", "frequency", "due"),
    [(5, 1, [0, 1, 2, 3, 4]), (5, 2, [0, 2, 4]), (6, 2, [0, 2, 4, 5]), (5, 3, [0, 3, 4]), (5, -1, [4])],
)
def test_what_is_due_when(n_iter, frequency, due):
    trainer = build(n_iter=n_iter)
    assert [itr for itr in range(n_iter) if trainer.is_due(itr, frequency)] == due


def test_only_due_iterations_are_evaluated_and_each_is_logged(tmp_path):
    logger = Logger(tmp_path)
    results = build(n_iter=4, scalar_log_freq=2, logger=logger).run_training_loop()
    logger.close()
    assert [len(result.returns) for result in results] == [6, 0, 6, 6]
    assert ["Eval_AverageReturn" in result.scalars for result in results] == [True, False, True, True]
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 1 + 4
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("Train_AverageReturn")] == [0, 2, 3]


def test_scalars_bear_the_courses_names():
    results = build(n_iter=2).run_training_loop()
    ours = {"Expert_LabelsSoFar", "Eval_ExpertAgreement"}
    assert results[0].scalars.keys() == COURSE_SCALARS | ours | {"Initial_DataCollection_AverageReturn"}
    assert results[1].scalars.keys() - {"Initial_DataCollection_AverageReturn"} == COURSE_SCALARS | ours


def test_training_data_are_described_by_hand():
    trainer = build(n_iter=2)
    first, second = (result.scalars for result in trainer.run_training_loop())
    expected = {
        "Train_AverageReturn": 5.5,
        "Train_StdReturn": 0.5,  # the population's
        "Train_MaxReturn": 6,
        "Train_MinReturn": 5,
        "Train_AverageEpLen": 4,
        "Train_EnvstepsSoFar": 0,
        "Initial_DataCollection_AverageReturn": 5.5,
        "Expert_LabelsSoFar": 8,
    }
    assert {name: first[name] for name in expected} == expected
    lengths = [len(trajectory) for trajectory in trainer.rule.trajectories]
    assert second["Train_AverageReturn"] == 0  # the learner's action
    assert second["Train_AverageEpLen"] == pytest.approx(np.mean(lengths))
    assert second["Train_EnvstepsSoFar"] == sum(lengths)
    assert second["Expert_LabelsSoFar"] == 8 + sum(lengths)


def test_demonstrations_without_rewards_have_no_return():
    (result,) = build(demonstrations=[walk(3, rewards=np.full(3, np.nan))]).run_training_loop()
    assert not {name for name in result.scalars if name.startswith(("Train_Av", "Train_St", "Train_M", "Initial"))}
    assert result.scalars["Expert_LabelsSoFar"] == 3


def test_agreement_of_discrete_actions_by_hand():
    trajectories = [walk(4), walk(2)]  # the expert's labels: 0 1 2 0 and 0 1
    assert agreement(ConstantActor(1), StepModuloThree(), trajectories, True) == {"Eval_ExpertAgreement": 2 / 6}
    assert agreement(StepModuloThree(), StepModuloThree(), trajectories, True) == {"Eval_ExpertAgreement": 1}


def test_distance_of_continuous_actions_by_hand():
    trajectory = Trajectory(np.ones((3, 2), np.float32), np.zeros((2, 2), np.float32), np.zeros(2))
    expert = ScriptedActor(lambda obs: 3 * obs, (2,))
    distance = agreement(ConstantActor([0.0, -1.0]), expert, [trajectory], False)  # differences 3 and 4
    assert distance == {"Eval_ExpertDistance": pytest.approx(np.sqrt(12.5))}


# Files and videos ----------------------------------------------------------------------------------------


def test_every_iterations_policy_is_saved(tmp_path):
    policy = network_policy()
    logger = Logger(tmp_path)
    build(policy, n_iter=3, logger=logger).run_training_loop()
    logger.close()
    assert sorted(path.name for path in tmp_path.glob("*.pt")) == [f"policy_itr_{i}.pt" for i in range(3)]
    saved = [MLPPolicySL.load(tmp_path / f"policy_itr_{i}.pt").state_dict() for i in range(3)]
    assert all(torch.equal(saved[2][name], tensor) for name, tensor in policy.state_dict().items())
    assert not torch.equal(saved[1]["network.0.weight"], saved[2]["network.0.weight"])


@pytest.mark.parametrize(("frequency", "itrs"), [(-1, []), (2, [0, 2, 3]), (1, [0, 1, 2, 3]), (9, [0, 3])])
def test_videos_are_made_when_due(tmp_path, frequency, itrs):
    logger = Logger(tmp_path)
    build(n_iter=4, video_log_freq=frequency, logger=logger).run_training_loop()
    logger.close()
    names = [path.name for path in sorted((tmp_path / "videos").glob("*"))]
    assert names == [f"eval_rollouts_itr_{itr}.gif" for itr in itrs]


def test_a_video_shows_an_episode_of_its_own(tmp_path):
    logger = Logger(tmp_path)
    trainer = build(n_iter=3, video_log_freq=1, logger=logger)
    trainer.run_training_loop()
    logger.close()
    videos = [seeds for seeds in evaluation_seeds(trainer) if len(seeds) == 1]
    assert len(videos) == 3
    everything = list(itertools.chain(*(actor.seeds for actor in trainer.policy.actors)))
    assert len(set(everything)) == len(everything)


@pytest.mark.parametrize("env_name", ["BlindCorridor-v0", "FacelessCorridor-v0"])
def test_a_machine_that_cannot_draw_is_told_once_and_the_run_goes_on(tmp_path, capsys, env_name):
    logger = Logger(tmp_path)
    results = build(n_iter=4, env_name=env_name, video_log_freq=1, logger=logger).run_training_loop()
    logger.close()
    assert capsys.readouterr().err.count("no videos") == 1
    assert len(results) == 4
    assert (tmp_path / "policy_itr_3.pt").exists()
    assert not (tmp_path / "videos").exists()


def test_the_time_is_kept_by_phase(tmp_path):
    logger = Logger(tmp_path)
    trainer = build(n_iter=2, video_log_freq=1, logger=logger)
    results = trainer.run_training_loop()
    logger.close()
    assert trainer.clock.seconds.keys() == {"collect", "train", "evaluate", "log", "video"}
    assert all(seconds > 0 for seconds in trainer.clock.seconds.values())
    assert 0 < results[0].scalars["TimeSinceStart"] < results[1].scalars["TimeSinceStart"]


@pytest.mark.parametrize(("verbose", "lines"), [(True, 2), (False, 0)])
def test_a_line_is_printed_for_each_iteration(capsys, verbose, lines):
    trainer = build(CountingPolicy(action=2), n_iter=2)
    trainer.verbose = verbose
    trainer.run_training_loop()
    out = capsys.readouterr().out
    assert len(out.splitlines()) == lines
    if verbose:
        first, last = out.splitlines()
        assert first.startswith("itr 0/1 | loss 1.0000 | eval return ")
        assert "over 6 episodes | expert labels 8 |" in first
        assert "left" in first
        assert "left" not in last


# Repeating a run -----------------------------------------------------------------------------------------


def train(folder=None, seed=1, **settings):
    """A whole DAgger run with a network; its scalars without times, its weights and its policy."""
    logger = folder and Logger(folder)
    policy = network_policy()
    settings |= {"seed": seed, "val_fraction": 0.2, "batch_size": 40}
    trainer = build(policy, [walk(60, action=1)], n_iter=3, logger=logger, **settings)
    results = trainer.run_training_loop()
    if logger:
        logger.close()
    return without_times(results), {name: tensor.tolist() for name, tensor in policy.state_dict().items()}


def test_one_seed_gives_identical_scalars_and_weights():
    first = train()
    torch.manual_seed(99)
    torch.rand(3)
    np.random.seed(99)  # the global generators must not matter
    assert json.dumps(train()) == json.dumps(first)


def test_no_random_stream_is_used_twice(tmp_path, monkeypatch):
    used = []
    monkeypatch.setattr(rl_trainer, "stream", lambda *key: used.append(key) or stream(*key))
    train(tmp_path, seed=7, video_log_freq=1)
    purposes = "validation training evaluation video".split()
    expected = [(7, purpose, itr) for purpose in purposes for itr in range(3)]
    assert sorted(used) == sorted([*expected, (7, "collection", 1), (7, "collection", 2)])


def test_another_seed_gives_another_run():
    (scalars, weights), (other_scalars, other_weights) = train(seed=1), train(seed=2)
    assert scalars != other_scalars
    assert weights != other_weights


def test_logs_and_videos_change_no_result(tmp_path):
    plain = train()
    for name, settings in {"logs": {}, "videos": {"video_log_freq": 1}}.items():
        (tmp_path / name).mkdir()
        assert json.dumps(train(tmp_path / name, **settings)) == json.dumps(plain)
    assert len(list((tmp_path / "videos" / "videos").iterdir())) == 3


def test_evaluating_less_often_changes_no_weight():
    assert train(scalar_log_freq=-1)[1] == train()[1]


def test_workers_change_no_result():
    def run(env):
        trainer = build(CountingPolicy(action=2), n_iter=4, scalar_log_freq=2)
        trainer.env = env
        return without_times(trainer.run_training_loop()), trainer.buffer.obs.tolist()

    workers = RolloutWorkers("Corridor-v0", 2)
    try:
        assert json.dumps(run(workers)) == json.dumps(run(make_env("Corridor-v0")))
    finally:
        workers.close()


def test_the_next_collection_begins_before_the_evaluation_is_over(monkeypatch):
    """E: evaluation, C: collection; each is begun, and later waited for."""
    events, names = [], iter("E0 C1 E1 C2 E2".split())

    def begin(*args, **kwargs):
        name = next(names)
        events.append(f"begin {name}")

        def rest():
            events.append(f"wait {name}")
            yield from episodes

        episodes = begin_episodes(*args, **kwargs)
        return rest()

    monkeypatch.setattr(rl_trainer, "begin_episodes", begin)
    build(n_iter=3).run_training_loop()
    expected = "begin E0, begin C1, wait E0, wait C1, begin E1, begin C2, wait E1, wait C2, begin E2, wait E2"
    assert ", ".join(events) == expected


def test_a_loss_that_is_not_finite_stops_the_training():
    policy = MLPPolicySL((2,), 1, False, learning_rate=1e20)
    labels = np.ones((3, 1), np.float32)
    trajectory = Trajectory(np.ones((4, 2), np.float32), labels, np.zeros(3))
    trainer = build(policy, [trajectory], env_name="CorridorContinuous-v0", num_agent_train_steps_per_iter=50)
    with pytest.raises(InputError, match=r"training diverged in iteration 0.*lower --learning_rate"):
        trainer.run_training_loop()
    assert all(parameter.isfinite().all() for parameter in policy.parameters())  # as they last were good


def test_returns_are_not_logged_where_the_file_does_not_say_what_ended_the_episode():
    piece = walk(3, terminated=False)
    scalars = build(demonstrations=[walk(3), piece]).describe_data(0, [walk(3), piece])
    assert "Train_AverageReturn" not in scalars and "Initial_DataCollection_AverageReturn" not in scalars
    assert build().describe_data(0, [walk(3), walk(5)])["Train_AverageReturn"] == 4


def test_training_again_takes_all_steps_again():
    policy = CountingPolicy()
    trainer = build(policy, num_agent_train_steps_per_iter=7)
    trainer.store(0, trainer.demonstrations)
    trainer.train(0)
    trainer.train(0)
    assert len(policy.batches) == 14
    np.testing.assert_array_equal(policy.batches[0][0], policy.batches[7][0])


def test_an_interrupted_run_leaves_one_policy_at_least(tmp_path):
    trainer = build(logger=Logger(tmp_path))
    trainer.save_interrupted()  # before anything was learnt
    trainer.save_interrupted()
    assert [path.name for path in tmp_path.glob("*.pt")] == ["policy_itr_0.pt"]
    trainer.fitting.itr, trainer.fitting.steps_done = 1, 0
    trainer.save_interrupted()  # while the next iteration's data are collected
    assert [path.name for path in tmp_path.glob("*.pt")] == ["policy_itr_0.pt"]
    trainer.fitting.steps_done = 5
    trainer.save_interrupted()
    assert {path.name for path in tmp_path.glob("*.pt")} == {"policy_itr_0.pt", "policy_itr_1.pt"}


def test_videos_are_of_the_environment_that_is_trained_in(tmp_path):
    trainer = build(env_name="Corridor-v0", logger=Logger(tmp_path))
    trainer.config = RunConfig(env_name="LunarLander-v3")
    trainer.record_video(0)
    assert (tmp_path / "videos" / "eval_rollouts_itr_0.gif").is_file()
