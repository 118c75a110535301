"""A teaching run: session, learner and run folder put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from rl_il.envs import is_picture, key_map, make_env
from rl_il.envs.keys import KeyMap
from rl_il.errors import InputError
from rl_il.experts.loading import load_expert
from rl_il.files import write_json
from rl_il.infrastructure.rollouts import RolloutSource
from rl_il.infrastructure.video import make_drawing_env
from rl_il.infrastructure.workers import RolloutWorkers
from rl_il.runs.checkpoint import lock_folder
from rl_il.runs.folders import make_teach_folder
from rl_il.runs.parts import build_policy
from rl_il.runs.provenance import provenance
from rl_il.teacher.acting import StandIn
from rl_il.teacher.messages import notice
from rl_il.teacher.metrics import Metrics, MLflowTracker, import_mlflow, measure
from rl_il.teacher.recording import Recording
from rl_il.teacher.session import Episode, Session, check_keys
from rl_il.teacher.settings import MODES, TeachConfig
from rl_il.types import Expert

if TYPE_CHECKING:  # it imports torch
    from rl_il.policies.base_policy import BasePolicy
    from rl_il.teacher.learner import Snapshot


class Teaching:
    """Everything that one teaching run holds, from an open folder to a closed one.

    A scripted lesson trains and measures where either falls due, so that a seed gives one result; with a person both
    happen in the background.

    Args:
      expert: who teaches, by keys; None: a person.
      going_on: whether the folder holds a run to go on with.
      modes: those that the session allows.
    """

    def __init__(
        self,
        config: TeachConfig,
        folder: Path,
        env: gym.Env,
        policy: BasePolicy,
        expert: Expert | None = None,
        going_on: bool = False,
        modes: Sequence[str] = MODES,
    ):
        # torch, which a mistake in the arguments should not wait for
        from rl_il.infrastructure.replay_buffer import ReplayBuffer
        from rl_il.teacher.labels import Labels
        from rl_il.teacher.learner import Learner

        self.config, self.folder, self.env, self.scripted = config, folder, env, expert is not None
        self.tell: Callable[[dict[str, Any]], None] = lambda message: None  # shows what happens
        self.recording = Recording(folder, config.env_name)
        buffer = ReplayBuffer(config.max_replay_buffer_size, policy.device, policy.frame_stack, policy.view)
        self.labels = Labels(config.labels, config.approval_weight, buffer)
        self.learner = Learner(policy, self.labels, config)
        self.metrics = Metrics(folder, MLflowTracker(config, folder) if config.tracker else None)
        self.unsaved_from = 0  # steps of the running episode that are saved already
        self._measuring: Future[tuple[int, np.ndarray]] | None = None
        self._measurer = ThreadPoolExecutor(1)
        self._source: RolloutSource | None = None
        if going_on:
            self._load()
        keys, first = key_map_of(config, env), self.recording.next_number
        teacher = StandIn(expert, keys, config, first) if expert else None
        self.session = Session(env, keys, self.labels, self.learner, config, self.end_episode, modes, teacher, first)
        if not self.scripted:
            self.learner.start()

    def _load(self) -> None:
        """Go on with what the folder holds."""
        saved, _ = self.recording.checkpoint.load() or (None, None)
        # The stand-in performs episodes after the last checkpoint again; a person's are labels that stay.
        done = saved["itr"] if saved else 0
        for trajectory in self.recording.load(self.env, done if self.scripted else None):
            self.labels.add(trajectory)
        if saved:
            self.learner.restore(saved)
        self.metrics.restore(done, saved["history"] if saved else [])

    def end_episode(self, episode: Episode) -> None:
        """Save the episode, measure the snapshot where that is due, log, and save what was learnt."""
        if self.scripted:
            self.learner.work()
        self.recording.save_episode(episode.number, episode.start, episode.trajectory)
        self.unsaved_from = 0
        every = self.config.eval_every
        if every > 0 and (episode.number + 1) % every == 0 and self._measuring is None:
            if self._source is None:  # in the background a process, which takes no time from the display
                name = self.config.env_name
                self._source = make_env(name) if self.scripted else RolloutWorkers(name, 1)
            self._measuring = self._measurer.submit(self._measure, self.learner.newest, episode.number)
        self.collect_measurement()
        self.tell(self.metrics.log(episode, self.labels.counts, self.learner.updates, self.learner.loss))
        self.save_learning(episode.number + 1)

    def _measure(self, snapshot: Snapshot, itr: int) -> tuple[int, np.ndarray]:
        """Return the gradient steps that the snapshot has had, and `(eval_episodes,)` returns."""
        return snapshot.updates, measure(snapshot, self._source, self.config, itr)

    def collect_measurement(self) -> None:
        """Take a snapshot's returns, if they are there."""
        if self._measuring is None or not (self.scripted or self._measuring.done()):
            return
        measuring, self._measuring = self._measuring, None
        try:
            updates, returns = measuring.result()
        except InputError as error:  # no reason to end the lesson
            self.tell(notice(f"the snapshot was not measured: {error}", "error"))
        else:
            self.tell(self.metrics.add_snapshot_return(updates, returns))

    @property
    def unsaved_steps(self) -> int:
        """The number of steps of the running episode that a crash would lose."""
        return 0 if self.session.ended else len(self.session.rollout) - self.unsaved_from

    def undo(self, seconds: float) -> int:
        """Take back the labels of the last seconds, in the saved files too; return how many there were."""
        before = len(self.labels)
        removed = self.session.undo(seconds)
        first = max(0, before - max(1, round(seconds * self.session.fps)))
        if removed:
            self.recording.relabel(first, self.labels)
        return removed

    def save(self) -> Path | None:
        """Write the running episode too, as far as it is; return the folder, None if there is nothing to save."""
        episode = None if self.session.ended else self.session.so_far()
        if episode:
            self.recording.save_episode(episode.number, episode.start, episode.trajectory)
            self.unsaved_from = len(episode.trajectory)
        return self.folder if self.recording.episodes else None

    def save_learning(self, episodes: int) -> None:
        """Write the policy, and what is needed to go on after so many episodes."""
        with self.learner.lock:  # nothing changes while it is written
            state = {"itr": episodes, "history": self.metrics.history, **self.learner.state()}
            self.recording.save_learning(state, self.learner.policy)

    def close(self, keep_running_episode: bool = True) -> Path | None:
        """Stop learning, save, and close what is open; return the file of all episodes."""
        self.learner.stop()
        if keep_running_episode:
            self.save()
            self.save_learning(self.recording.next_number)
        path = self.recording.save_all()
        self.abandon()
        return path

    def abandon(self) -> None:
        """Close what is open, without saving more than was saved."""
        self.learner.stop()
        self.metrics.close()
        for source in (self._source, self.env):
            if source is not None:
                source.close()
        self._measurer.shutdown(wait=False)


def key_map_of(config: TeachConfig, env: gym.Env) -> KeyMap | None:
    """Return the environment's keys with the strengths that the settings ask for."""
    keys = key_map(env)
    if config.key_values and keys is None:
        raise InputError(f"--key_values: {config.env_name} has no keys")
    return keys.adjusted(config.key_values) if config.key_values else keys


def open_teaching(
    stack: ExitStack,
    config: TeachConfig,
    resume: Path | None = None,
    command_line: Sequence[str] = (),
    modes: Sequence[str] = MODES,
) -> Teaching:
    """Return the run in its locked folder; a mistake in the settings is found before the folder is made."""
    env = make_env(config.env_name)
    if not config.teacher and not is_picture(env.observation_space):  # it is shown, and does not observe what is
        env.close()
        env = make_drawing_env(config.env_name)
    check_keys(env, key_map_of(config, env), config.mode)
    expert = load_expert(config.expert_policy_file, env) if config.teacher else None
    if config.tracker:
        import_mlflow()
    policy = build_policy(config.run_config(), env)
    folder = resume or make_teach_folder(config.env_name, config.logdir)
    stack.enter_context(lock_folder(folder))
    teaching = Teaching(config, folder, env, policy, expert, resume is not None, modes)
    if resume is None:
        write_json(folder / "config.json", {"teaching": dataclasses.asdict(config), **provenance(command_line)})
    return teaching
