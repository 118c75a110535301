"""A complete teaching session: the environment loop, the learner, the measurements and the run folder."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from rl_il.envs import env_of, env_row, episode_limit, is_picture, key_map, make_env, recipe_of
from rl_il.envs.keys import KeyMap
from rl_il.errors import InputError
from rl_il.experts.loading import load_expert
from rl_il.files import write_json
from rl_il.infrastructure.counting import Counts, count_collected
from rl_il.infrastructure.rollouts import RolloutSource
from rl_il.infrastructure.video import make_drawing_env
from rl_il.infrastructure.workers import RolloutWorkers
from rl_il.runs.checkpoint import lock_folder
from rl_il.runs.folders import make_teach_folder
from rl_il.runs.parts import build_policy
from rl_il.runs.provenance import provenance
from rl_il.runs.trackers import check_tracker, start_tracker
from rl_il.teacher.acting import ScriptedTeacher
from rl_il.teacher.messages import notice
from rl_il.teacher.metrics import Metrics, measure
from rl_il.teacher.recording import Recording
from rl_il.teacher.session import Episode, Session, check_keys
from rl_il.teacher.settings import MODES, TeachConfig
from rl_il.types import Expert

if TYPE_CHECKING:  # it imports torch
    from rl_il.policies.base_policy import BasePolicy
    from rl_il.teacher.learner import Snapshot


class Teaching:
    """All parts of one teaching session, from opening its folder to closing it.

    With the scripted teacher, training and measurements happen in the thread that steps the environment. So a seed
    always gives the same result. With a person, both happen in the background.

    Args:
      config: the settings of the session.
      folder: the session's run folder, locked by the caller.
      env: the environment; no other code may step it.
      policy: the policy to train.
      expert: the expert whose keys the scripted teacher presses; None means that a person teaches.
      going_on: whether the folder holds a session to continue.
      modes: the modes that may be chosen.

    Raises:
      InputError: a file of the folder is damaged, the environment has no keys, or the tracker cannot be reached.
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
        # They import torch, which takes a second. A mistake in the flags is reported before that.
        from rl_il.infrastructure.replay_buffer import ReplayBuffer
        from rl_il.teacher.labels import Labels
        from rl_il.teacher.learner import Learner

        self.config, self.folder, self.env, self.expert = config, folder, env, expert
        self.scripted = expert is not None
        self.tell: Callable[[dict[str, Any]], None] = lambda message: None  # shows a message to the user
        self.recording = Recording(folder, config.run_config().env_settings)
        buffer = ReplayBuffer(
            config.max_replay_buffer_size, policy.device, policy.frame_stack, policy.view, policy.to_labels
        )
        self.labels = Labels(config.labels, config.approval_weight, buffer)
        long = config.compiles(episode_limit(env, config.ep_len) or sys.maxsize)
        self.learner = Learner(policy, self.labels, config, long and (policy.compile_pays or config.compile == "on"))
        tracker = start_tracker(config, folder)
        self.metrics = Metrics(folder, tracker, env_row(config.env_name))
        self.unsaved_from = 0  # number of steps of the running episode that are saved
        self._measuring: Future[tuple[int, np.ndarray]] | None = None
        self._measurer = ThreadPoolExecutor(1)
        self._source: RolloutSource | None = None
        counts = self._load() if going_on else Counts()
        keys, first = key_map_of(config, env), self.recording.next_number
        teacher = ScriptedTeacher(expert, keys, config, first) if expert else None
        parts = (env, keys, self.labels, self.learner, config)
        self.session = Session(*parts, self.end_episode, modes, teacher, first, counts)
        if not self.scripted:
            self.learner.start()

    def _load(self) -> Counts:
        """Load the episodes and the learning state that the folder holds; return what the episodes have used."""
        saved, _ = self.recording.checkpoint.load() or (None, None)
        # The scripted teacher repeats the episodes after the last checkpoint. A person cannot, so all are kept.
        done = saved["itr"] if saved else 0
        trajectories = self.recording.load(self.env, done if self.scripted else None)
        for trajectory in trajectories:
            self.labels.add(trajectory)
        if saved:
            self.learner.restore(saved)
        self.metrics.restore(done, saved["history"] if saved else [])
        return count_collected(trajectories)

    def end_episode(self, episode: Episode) -> None:
        """Save the episode, start a measurement if one is due, log the metrics, and save the learning state."""
        if self.scripted:
            self.learner.work()
        self.recording.save_episode(episode.number, episode.start, episode.trajectory)
        self.unsaved_from = 0
        every = self.config.eval_every
        if every > 0 and (episode.number + 1) % every == 0 and self._measuring is None:
            self._measuring = self._measurer.submit(self._measure, self.learner.newest, self._measuring_source())
        self.collect_measurement()
        labels, counts = self.labels.counts, self.session.counts
        self.tell(self.metrics.log(episode, labels, counts, self.learner.updates, self.learner.loss))
        self.save_learning(episode.number + 1)

    def _measuring_source(self) -> RolloutSource:
        """Return what rolls out the measurements. With a person it is a process, which does not delay the page."""
        if self._source is None:
            recipe = recipe_of(self.env)
            self._source = make_env(recipe) if self.scripted else RolloutWorkers(recipe, 1)
        return self._source

    def _measure(self, snapshot: Snapshot, source: RolloutSource) -> tuple[int, np.ndarray]:
        """Return the snapshot's number of gradient steps, and its `(eval_episodes,)` scores."""
        actor = deepcopy(snapshot.actor)  # the original may be acting in the session
        return snapshot.updates, measure(actor, source, self.config)

    def measure_expert(self) -> np.ndarray:
        """Return the `(eval_episodes,)` scores of the scripted teacher's expert, on the snapshots' episodes."""
        return measure(self.expert, self._measuring_source(), self.config)

    def collect_measurement(self) -> None:
        """Log the scores of a measurement, if one has finished."""
        if self._measuring is None or not (self.scripted or self._measuring.done()):
            return
        measuring, self._measuring = self._measuring, None
        try:
            updates, scores = measuring.result()
        except InputError as error:  # this error must not end the session
            self.tell(notice(f"the snapshot was not measured: {error}", "error"))
        else:
            self.tell(self.metrics.add_snapshot_return(updates, scores))

    @property
    def unsaved_steps(self) -> int:
        """Return the number of steps of the running episode that a crash would lose."""
        return 0 if self.session.ended else len(self.session.rollout) - self.unsaved_from

    def undo(self, seconds: float) -> int:
        """Remove the labels of the last `seconds`, also from the saved files; return their number."""
        before = len(self.labels)
        removed = self.session.undo(seconds)
        first = max(0, before - max(1, round(seconds * self.session.fps)))
        if removed:
            self.recording.relabel(first, self.labels)
        return removed

    def save(self) -> Path | None:
        """Save the unfinished episode as it is now; return the folder, or None if no episode has been saved."""
        episode = None if self.session.ended else self.session.so_far()
        if episode:
            self.recording.save_episode(episode.number, episode.start, episode.trajectory)
            self.unsaved_from = len(episode.trajectory)
        return self.folder if self.recording.episodes else None

    def save_learning(self, episodes: int) -> None:
        """Save the policy, and the state from which learning can continue after `episodes` episodes."""
        with self.learner.lock:  # the policy must not change while it is written
            state = {"itr": episodes, "history": self.metrics.history, **self.learner.state()}
            self.recording.save_learning(state, self.learner.policy)

    def close(self, keep_running_episode: bool = True) -> Path | None:
        """Stop learning, save, and release everything. Return the file with all episodes; None if there are none."""
        self.learner.stop()
        if keep_running_episode:
            self.save()
            self.save_learning(self.recording.next_number)
        path = self.recording.save_all()
        self.abandon()
        return path

    def abandon(self) -> None:
        """Stop learning and release everything, without saving."""
        self.learner.stop()
        self.metrics.close()
        for source in (self._source, self.env):
            if source is not None:
                source.close()
        self._measurer.shutdown(wait=False)


def key_map_of(config: TeachConfig, env: gym.Env) -> KeyMap | None:
    """Return the environment's keys, with the strengths of --key_values; None if it has no keys.

    Raise `InputError` if --key_values does not fit.
    """
    keys = key_map(env)
    if config.key_values and keys is None:
        raise InputError(f"--key_values sets the strength of keys, but {config.env_name} has none; drop it")
    return keys.adjusted(config.key_values) if config.key_values else keys


def open_teaching(
    stack: ExitStack,
    config: TeachConfig,
    resume: Path | None = None,
    command_line: Sequence[str] = (),
    modes: Sequence[str] = MODES,
) -> Teaching:
    """Return a new session, or the one to resume. Its folder stays locked until `stack` ends.

    Raise `InputError`, before the folder is made, if the settings have a mistake.
    """
    env = env_of(config)
    if not config.teacher and not is_picture(env.observation_space):  # the page needs pictures to show
        env.close()
        env = make_drawing_env(env)
    check_keys(env, key_map_of(config, env), config.mode)
    expert = None
    if config.teacher:
        expert = load_expert(config.expert_policy_file, env, config.expert_activation, config.no_normalizer)
    check_tracker(config.tracker)
    policy = build_policy(config.run_config(), env)
    folder = resume or make_teach_folder(config.env_name, config.logdir)
    stack.enter_context(lock_folder(folder))
    teaching = Teaching(config, folder, env, policy, expert, resume is not None, modes)
    if resume is None:
        write_json(folder / "config.json", {"teaching": dataclasses.asdict(config), **provenance(command_line)})
    return teaching
