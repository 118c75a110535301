"""The training loop on pictures: each setting has its effect."""

import numpy as np
import pytest
import torch
from fakes import PICTURE, ConstantActor, StepCounter

from rl_il.config import RunConfig
from rl_il.envs import make_env
from rl_il.experts.car_driver import CarDriver
from rl_il.infrastructure.dagger import DAgger, ExpertTeacher
from rl_il.infrastructure.rl_trainer import RLTrainer
from rl_il.infrastructure.rollouts import begin_episodes, sample_trajectory
from rl_il.infrastructure.workers import RolloutWorkers
from rl_il.policies.cnn_policy import CNNPolicySL
from rl_il.runs.parts import Inputs, find_rule
from rl_il.runs.training import build
from rl_il.types import EXPERT, LEARNER, Trajectory


class Noting(CNNPolicySL):
    """A policy that keeps each minibatch."""

    compilable = False

    def update(self, observations, actions, noise=None):
        self.__dict__.setdefault("batches", []).append((observations.numpy(), actions.numpy()))
        return super().update(observations, actions)


def make_trainer(**settings) -> RLTrainer:
    settings = {"num_agent_train_steps_per_iter": 3, "train_batch_size": 4, "batch_episodes": 2} | settings
    config = RunConfig(env_name="PictureCorridor-v0", seed=3, video_log_freq=-1, **settings)
    env, policy = make_env("PictureCorridor-v0"), Noting(PICTURE, 2, False, frame_stack=2, size=8)
    demonstrations = [sample_trajectory(env, StepCounter(), seed, source=EXPERT) for seed in (1, 3)]  # 4, 6 steps
    return RLTrainer(config, env, policy, demonstrations, DAgger(config.beta_decay), ExpertTeacher(StepCounter()))


def test_minibatches_are_augmented_and_the_buffer_is_not():
    plain, bright, again = (make_trainer(augment=names) for names in (None, "brightness", "brightness"))
    for trainer in (plain, bright, again):
        trainer.run_training_loop()
    for (a, labels), (b, same), (c, _) in zip(*(t.policy.batches for t in (plain, bright, again)), strict=True):
        assert not np.array_equal(a, b) and np.array_equal(b, c)
        np.testing.assert_array_equal(labels, same)
        scale = b[a > 20].astype(float) / a[a > 20]
        assert 0.65 < scale.min() < scale.max() < 1.35
    assert torch.equal(plain.buffer.obs, bright.buffer.obs)
    first, second = bright.policy.batches[0][0], bright.policy.batches[1][0]
    assert len({*np.unique(first), *np.unique(second)}) > len({*np.unique(first)})  # drawn anew each step


def test_the_end_of_each_episode_is_held_out():
    trainer = make_trainer(val_fraction=0.5)
    trainer.add(0, trainer.demonstrations)
    assert trainer.buffer.acs[:, 0].tolist() == pytest.approx([0, 0.01, 0, 0.01, 0.02])
    assert trainer.validation.acs[:, 0].tolist() == pytest.approx([0.02, 0.03, 0.03, 0.04, 0.05])


def test_demonstrations_are_kept_only_in_the_buffer():
    trainer = make_trainer()
    trainer.run_training_loop()
    assert len(trainer.demonstrations) == 0 and len(trainer.buffer) == 10


def test_the_settings_reach_the_trainer():
    env = make_env("CarRacing-v3")
    config = RunConfig(env_name="CarRacing-v3", do_dagger=True, n_iter=2, beta_decay=0.3, history=3, torch_threads=2)
    ob, ac = np.zeros((2, 96, 96, 3), np.uint8), np.zeros((1, 3), np.float32)
    inputs = Inputs(env, env, CarDriver((96, 96, 3)), [Trajectory(ob, ac, np.zeros(1))], 1, 0.0, find_rule(config))
    parts = build(config, inputs, verbose=False)
    trainer = parts.trainer
    assert trainer.fit.config.torch_threads == 2
    assert trainer.rule.beta_decay == 0.3 and parts.evaluator.expert is None  # it cannot label recorded states
    assert (trainer.buffer.frame_stack, trainer.validation.frame_stack) == (3, 3)
    assert trainer.buffer.view(np.zeros((2, 96, 96, 3), np.uint8)).shape == (2, 84, 96, 1)


def test_the_expert_labels_in_worker_processes_too():
    learner, rule = ConstantActor(np.array([0.1, 0.3, 0.0], np.float32), (96, 96, 3)), DAgger(0.5)
    rule.begin_round(learner, None, 1)
    ask = {"n": 1, "rule": rule, "teacher": ExpertTeacher(CarDriver((96, 96, 3)))}
    workers = RolloutWorkers("CarRacing-v3", 1)
    try:
        (there,) = begin_episodes(workers, learner, np.random.default_rng(3), 15, **ask)
    finally:
        workers.close()
    (here,) = begin_episodes(make_env("CarRacing-v3"), learner, np.random.default_rng(3), 15, **ask)
    for name in ("acs", "expert_acs", "source", "obs"):
        np.testing.assert_array_equal(getattr(there, name), getattr(here, name))
    assert {*here.source.tolist()} == {LEARNER, EXPERT}
