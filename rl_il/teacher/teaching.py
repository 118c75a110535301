"""A teaching run: session, learner and run folder put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from rl_il.envs import key_map, make_env
from rl_il.errors import InputError
from rl_il.infrastructure.checkpoint import lock_folder
from rl_il.infrastructure.logger import Logger
from rl_il.infrastructure.rollouts import RolloutSource
from rl_il.infrastructure.trainer_state import naming
from rl_il.infrastructure.workers import RolloutWorkers
from rl_il.keys import KeyMap
from rl_il.policies.experts import load_expert
from rl_il.run_folder import make_teach_folder
from rl_il.run_parts import build_policy
from rl_il.teacher.display import make_shown_env
from rl_il.teacher.metrics import Background, Metrics, MLflowTracker, import_mlflow, measure
from rl_il.teacher.recording import Recording
from rl_il.teacher.session import Episode, Session
from rl_il.teacher.settings import MODES, TeachConfig
from rl_il.types import EXPERT, HUMAN, Expert

if TYPE_CHECKING:  # it imports torch
    from rl_il.policies.mlp_policy import MLPPolicySL


class Teaching:
    """Everything that one teaching run holds, from an open folder to a closed one.

    Args:
      config: the run.
      folder: its folder, new or to go on with.
      env: the environment that is taught in.
      policy: what learns.
      inline: whether training and measuring happen where they fall due, so that a seed gives one result; else in the
        background.
      going_on: whether the folder holds a run to go on with.
      modes: those that the session allows; the first is where it starts.
    """

    def __init__(
        self,
        config: TeachConfig,
        folder: Path,
        env: gym.Env,
        policy: MLPPolicySL,
        inline: bool = False,
        going_on: bool = False,
        modes: Sequence[str] | None = None,
    ):
        # torch, which a mistake in the arguments should not wait for
        from rl_il.infrastructure.replay_buffer import ReplayBuffer
        from rl_il.teacher.labels import Labels
        from rl_il.teacher.learner import Learner

        self.config, self.folder, self.env, self.inline = config, folder, env, inline
        self.tell: Callable[[dict[str, Any]], None] = lambda message: None  # whoever shows what happens
        self.recording = Recording(folder, config.env_name)
        buffer = ReplayBuffer(config.max_replay_buffer_size, policy.device, policy.frame_stack, policy.view)
        self.labels = Labels(config.labels, config.approval_weight, buffer)
        self.learner = Learner(
            policy,
            self.labels,
            config.seed,
            config.updates_per_step,
            config.publish_every,
            config.rest_after,
            config.train_batch_size,
        )
        self.metrics = Metrics(Logger(folder), MLflowTracker(config, folder) if config.tracker else None)
        self.expert: Expert | None = None  # behind the stand-in
        self.unsaved_from = 0  # steps of the running episode that are saved already
        self._measurement, self._source = Background(), None
        if going_on:
            self._load()
        self.session = Session(
            env,
            key_map_of(config, env),
            self.labels,
            self.learner,
            config.seed,
            on_end=self.end_episode,
            modes=modes or [config.mode, *MODES],
            teacher=EXPERT if config.teacher else HUMAN,
            hot_swap=config.hot_swap,
            first_episode=max(self.recording.episodes, default=-1) + 1,
            ep_len=config.ep_len,
        )
        if not inline:
            self.learner.start()

    def _load(self) -> None:
        """Takes over what the folder holds."""
        saved = self.recording.load_learning()
        # The stand-in performs episodes after the last checkpoint again; a person's are labels that stay.
        most = (saved["itr"] if saved else 0) if self.inline else None
        for trajectory in self.recording.load(self.env, most):
            self.labels.add(trajectory)
        if saved:
            self.go_on_from(saved)
        else:
            self.metrics.logger.start_again()

    def go_on_from(self, saved: dict[str, Any]) -> None:
        """Takes over what `Recording.load_learning` gave; the labels are there already.

        Raises `InputError`, which names the file, for the state of another policy.
        """
        with naming(self.recording.checkpoints.state_file):
            self.learner.restore(saved)
        self.metrics.history = saved["history"]
        self.metrics.logger.go_on_from(saved["itr"], saved["rows"], [])

    # Episodes -------------------------------------------------------------------------------------------------

    def end_episode(self, episode: Episode) -> None:
        """Saves the episode, measures the snapshot where that is due, logs, and saves what was learnt."""
        if self.inline:
            self.learner.work()
        self.recording.save_episode(episode.number, episode.start, episode.trajectory)
        self.unsaved_from = 0
        every = self.config.eval_every
        if every > 0 and (episode.number + 1) % every == 0:
            self._begin_measuring(episode.number)
        self.collect_measurement()
        message = self.metrics.log(episode, self.labels.counts, self.learner.updates, self.learner.loss)
        self.tell(message)
        self.save_learning(episode.number + 1)

    def _begin_measuring(self, itr: int) -> None:
        config, snapshot = self.config, self.learner.newest
        source = self._evaluation_source()

        def job() -> tuple[int, np.ndarray]:
            returns = measure(snapshot, source, config.eval_episodes, config.seed, itr, config.ep_len)
            return snapshot.updates, returns

        self._measurement.begin(job)

    def _evaluation_source(self) -> RolloutSource:
        """An environment of its own; in the background a process, which takes no time from the display."""
        if self._source is None:
            name = self.config.env_name
            self._source = make_env(name) if self.inline else RolloutWorkers(name, 1)
        return self._source

    def collect_measurement(self) -> None:
        """Takes a snapshot's returns, if they are there."""
        try:
            result = self._measurement.take(wait=self.inline)
        except InputError as error:  # no reason to end the lesson
            self.tell({"type": "notice", "level": "error", "text": f"the snapshot was not measured: {error}"})
            return
        if result is not None:
            updates, returns = result
            self.metrics.add_snapshot_return(updates, returns)
            mean = float(returns.mean())
            self.tell({"type": "snapshot_return", "updates": updates, "return": mean, "episodes": len(returns)})

    # Saving ---------------------------------------------------------------------------------------------------

    @property
    def unsaved_steps(self) -> int:
        """Steps of the running episode that a crash would lose."""
        return 0 if self.session.ended else len(self.session.acs) - self.unsaved_from

    def undo(self, seconds: float) -> int:
        """Takes the labels of the last seconds, in the saved files too; returns how many there were."""
        before = len(self.labels)
        removed = self.session.undo(seconds)
        first = max(0, before - max(1, round(seconds * self.session.fps)))
        if removed:
            self.recording.relabel(first, self.labels.labelled)
        return removed

    def save(self) -> Path | None:
        """Writes the running episode too, as far as it is; returns the folder, None if there is nothing to save."""
        episode = None if self.session.ended else self.session.so_far()
        if episode:
            self.recording.save_episode(episode.number, episode.start, episode.trajectory)
            self.unsaved_from = len(episode.trajectory)
        return self.folder if self.recording.episodes else None

    def save_learning(self, episodes: int) -> None:
        """Writes the policy, and what it takes to go on after so many episodes."""
        with self.learner.lock:  # nothing changes while it is written
            log = {"rows": self.metrics.logger.rows, "history": self.metrics.history}
            self.recording.save_learning(episodes, self.learner.policy, self.learner.state(), log)

    def close(self, keep_running_episode: bool = True) -> Path | None:
        """Stops learning, saves, and closes what is open; returns the file of all episodes."""
        self.learner.stop()
        if keep_running_episode:
            self.save()
            self.save_learning(max(self.recording.episodes, default=-1) + 1)
        path = self.recording.save_all()
        self.abandon()
        return path

    def abandon(self) -> None:
        """Closes what is open, without saving more than was saved."""
        self.learner.stop()
        self.metrics.close()
        for source in (self._source, self.env):
            if source is not None:
                source.close()


def key_map_of(config: TeachConfig, env: gym.Env) -> KeyMap | None:
    """The environment's keys with the strengths that the settings ask for."""
    keys = key_map(env)
    if config.key_values:
        if keys is None:
            raise InputError(f"--key_values: {config.env_name} has no keys")
        keys = keys.adjusted(config.key_values)
    return keys


def check_keys(config: TeachConfig, env: gym.Env) -> None:
    """Raises `InputError`, before anything is made, where nobody could act as the settings ask."""
    if key_map_of(config, env) is None and (config.mode != "watch" or config.teacher):
        raise InputError(
            f"{config.env_name} has no keys, so nobody can act in it: only --mode watch works (keys are a row of ENVS"
            " in rl_il/envs.py)"
        )


def open_teaching(
    stack: ExitStack,
    config: TeachConfig,
    inline: bool,
    resume: Path | None = None,
    command_line: Sequence[str] = (),
    modes: Sequence[str] | None = None,
) -> Teaching:
    """The run in its locked folder; a mistake in the settings is found before the folder is made."""
    env = make_env(config.env_name) if inline else make_shown_env(config.env_name)
    check_keys(config, env)
    expert = load_expert(config.expert_policy_file, env) if config.teacher else None
    if config.tracker:
        import_mlflow()
    policy = build_policy(config.run_config(), env)
    folder = resume or make_teach_folder(config.env_name, config.logdir)
    stack.enter_context(lock_folder(folder))
    teaching = Teaching(config, folder, env, policy, inline, going_on=resume is not None, modes=modes)
    teaching.expert = expert
    if resume is None:
        teaching.recording.write_config(config, command_line)
    return teaching
