"""The training loop of behavioural cloning and DAgger."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import gymnasium as gym
import numpy as np

from rl_il.config import RunConfig
from rl_il.envs import name_of
from rl_il.errors import DivergedError, InputError
from rl_il.infrastructure.checkpoint import Checkpoints
from rl_il.infrastructure.fitting import Fitting
from rl_il.infrastructure.logger import Logger
from rl_il.infrastructure.progress import Stopwatch, progress
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.infrastructure.rollouts import RolloutSource, begin_episodes, enough, look_at, returns_and_lengths
from rl_il.infrastructure.scalars import IterationResult, agreement, line_of, return_scalars
from rl_il.infrastructure.seeding import stream
from rl_il.infrastructure.trainer_state import state_of
from rl_il.infrastructure.validation import hold_out, validate
from rl_il.infrastructure.video import RenderError, gif_bytes, record_frames
from rl_il.types import Actor, Expert, Trajectory

if TYPE_CHECKING:  # the rooms above; the loop only calls what they promise
    from torch import Tensor

    from rl_il.dagger import CollectionRule
    from rl_il.policies.mlp_policy import MLPPolicySL

SECONDS_BETWEEN_CHECKPOINTS = 60  # within an iteration; there is one after each
VIDEO_FRAMES = 150  # MuJoCo needs 40 ms for each without a GPU


class RLTrainer:
    """Trains a policy on demonstrations and, with a collection rule, on its own states as labelled by it.

    Args:
      config: the run; `n_iter`, step counts, logging frequencies and the seed are read from it.
      env: an environment, or what takes its place: worker processes that hold one each, envpool.
      policy: what is trained.
      demonstrations: the first iteration's data.
      rule: collects every later iteration's data; None for behavioural cloning alone.
      expert: if given, the policy is compared with it on the states of the evaluation.
      logger: where scalars, videos and policies go; None: nowhere.
      n_eval_episodes: episodes an evaluation.
      verbose: whether to print a line an iteration.
    """

    def __init__(
        self,
        config: RunConfig,
        env: RolloutSource,
        policy: MLPPolicySL,
        demonstrations: Sequence[Trajectory],
        rule: CollectionRule | None = None,
        expert: Expert | None = None,
        logger: Logger | None = None,
        n_eval_episodes: int = 10,
        verbose: bool = True,
    ):
        if config.do_dagger and rule is None:
            raise ValueError("config.do_dagger needs a collection rule, such as DAgger(expert); got None")
        self.config, self.env, self.policy, self.demonstrations = config, env, policy, demonstrations
        self.env_name = name_of(env) if isinstance(env, gym.Env) else env.env_name
        self.rule, self.expert, self.logger = rule, expert, logger
        self.n_eval_episodes, self.verbose = n_eval_episodes, verbose
        storage = (config.max_replay_buffer_size, policy.device, policy.frame_stack, policy.view)
        self.buffer, self.validation = ReplayBuffer(*storage), ReplayBuffer(*storage)
        compiles = config.compiles(sum(int(t.labelled_steps.sum()) for t in demonstrations))
        compiles &= policy.compile_pays or config.compile == "on"
        self.fitting = Fitting(config, policy, self.buffer, compiles)
        self.begun: Iterator[Trajectory] | None = None  # the next iteration's collection
        self.results: list[IterationResult] = []
        # Going on after a stop: where, and what was recorded of it.
        self.checkpoints: Checkpoints | None = None
        self.resumed = False
        self.first_itr = self.steps_to_skip = 0
        self.recorded: dict[int, list[Trajectory]] = {}
        self.check_signals: Callable[[], None] = lambda: None
        self._last_checkpoint = time.perf_counter()
        self.initial_return = np.nan  # of the demonstrations
        self.expert_labels = 0
        self.env_steps = 0
        self.clock = Stopwatch()
        self._can_render = True

    def run_training_loop(self) -> list[IterationResult]:
        """Behavioural cloning is iteration 0; DAgger is every iteration after it."""
        if not self.resumed:
            self.normalize()
        for itr in range(self.first_itr, self.config.n_iter):
            trajectories = self.take_demonstrations() if itr == 0 else self.collect(itr)
            self.store(itr, trajectories)
            data = self.describe_data(itr, trajectories)
            del trajectories  # the buffer has them; pictures are large
            self.results.append(self.evaluate(itr, self.train(itr) | data))
            self.save(itr)
        return self.results

    def normalize(self) -> None:
        """Fits the standardisation of observations to the demonstrations, if the run asks for it."""
        if self.config.normalize_obs:
            self.policy.fit_normalization(np.concatenate([t.obs[:-1] for t in self.demonstrations]))

    def take_demonstrations(self) -> Sequence[Trajectory]:
        """The first iteration's data, which are not kept beside the buffer: pictures are large."""
        trajectories, self.demonstrations = self.demonstrations, ()
        return trajectories

    def collect(self, itr: int) -> list[Trajectory]:
        """Rolls out whoever the rule lets act, and has the rule label the states."""
        with self.clock.phase("collect"):
            if itr in self.recorded:  # before the run was stopped
                return self.recorded.pop(itr)
            episodes = self.begun or self.begin_collecting(itr)
            self.begun = None
            trajectories = enough(self.heed(episodes), self.config.batch_size, self.config.batch_episodes)
            self.env_steps += sum(map(len, trajectories))
            return [self.rule.label(trajectory) for trajectory in trajectories]

    def heed(self, episodes: Iterator[Trajectory]) -> Iterator[Trajectory]:
        """The episodes; between two, Ctrl-C is heeded."""
        try:
            for episode in episodes:
                yield episode
                self.check_signals()
        finally:
            episodes.close()

    def begin_collecting(self, itr: int) -> Iterator[Trajectory]:
        """The iteration's episodes, without end unless their number is given; worker processes start on them."""
        actor = self.rule.actor(self.policy.actor(), itr)
        rng = stream(self.config.seed, "collection", itr)
        return begin_episodes(self.env, actor, rng, self.config.ep_len, n=self.config.batch_episodes)

    def store(self, itr: int, trajectories: Sequence[Trajectory]) -> None:
        """Adds the labelled steps to the buffer, and keeps them for a run that goes on after a stop."""
        if self.checkpoints:
            self.logger.check_folder()
            self.checkpoints.add_data(itr, trajectories)
        self.add_to_buffer(itr, trajectories)

    def add_to_buffer(self, itr: int, trajectories: Sequence[Trajectory]) -> None:
        """Adds the labelled steps to the buffer, less the fraction that is held out for validation."""
        self.expert_labels += sum(int(t.labelled_steps.sum()) for t in trajectories)
        if self.config.val_fraction > 0:
            rng, stacked = stream(self.config.seed, "validation", itr), self.policy.frame_stack > 1
            trajectories, held = hold_out(trajectories, self.config.val_fraction, rng, whole_ends=stacked)
            self.validation.add(held)
        self.buffer.add(trajectories)

    def train(self, itr: int) -> dict[str, float]:
        """Fits the policy to the buffer, going on from the weights it has."""
        minibatches, n_steps = self.minibatches(itr)
        made, self.steps_to_skip = self.steps_to_skip, 0
        if made > n_steps:
            raise InputError(f"the checkpoint is of gradient step {made}, but there are {n_steps}")
        if made == 0:
            self.fitting.losses.clear()
        self.fitting.steps_done = made
        return self.fit(itr, itertools.islice(minibatches, made, None), n_steps - made)

    def minibatches(self, itr: int) -> tuple[Iterator[Tensor], int]:
        """The iteration's minibatches, as row numbers of the buffer, and how many they are."""
        if len(self.buffer) == 0:
            raise InputError("there are no labelled steps to train on")
        rng, rows, n_epochs = (
            stream(self.config.seed, "training", itr),
            self.config.train_batch_size,
            self.config.n_epochs,
        )
        if n_epochs is not None:
            return self.buffer.passes(rows, rng, n_epochs), n_epochs * -(-len(self.buffer) // rows)
        n_steps = self.config.num_agent_train_steps_per_iter
        return self.buffer.draws(rows, rng, n_steps), n_steps

    def fit(self, itr: int, minibatches: Iterator[Tensor], n_steps: int) -> dict[str, float]:
        """Takes a gradient step on each of the next `n_steps` minibatches."""
        gradient_step = self.gradient_step()
        with self.clock.phase("train"):
            steps = self.fitting.steps(itr, itertools.islice(minibatches, n_steps), gradient_step)
            try:
                for _ in self.progress(steps, n_steps, itr, "training"):
                    self.check_clock()
            except DivergedError as error:
                raise DivergedError(f"{error}{self.save_last_good()}") from None
            scalars = {"Training Loss": float(np.mean(self.fitting.losses))}
            if len(self.validation):
                scalars |= validate(self.policy, self.validation)
        return scalars

    def gradient_step(self) -> Callable[[Tensor], float]:
        """A function that fits the policy to the buffer's rows of these numbers, once, and returns their loss."""
        if not self.fitting.compiles:
            return self.fitting.eager_step
        with self.clock.phase("compile"):
            return self.fitting.compiled_step()

    def save_last_good(self) -> str:
        """Writes the weights as they last were good, if they ever were; returns where they are."""
        if not self.logger or self.fitting.good_weights is None:
            return ""
        path = self.logger.folder / "policy_last_good.pt"
        self.policy.save(path)
        return f"; the weights as they last were good are in {path}"

    def evaluate(self, itr: int, scalars: dict[str, float]) -> IterationResult:
        """Rolls out fresh episodes with a frozen copy of the policy, and logs the iteration."""
        due = self.is_due(itr, self.config.scalar_log_freq)
        returns, lengths = np.empty(0), np.empty(0, int)
        if due:
            with self.clock.phase("evaluate"):
                actor = self.policy.actor()
                episodes = self.roll_out(actor, "evaluation", itr, self.n_eval_episodes)
                if self.config.do_dagger and itr + 1 < self.config.n_iter:
                    # By the same policy: workers go on with these where the evaluation has no more for them.
                    self.begun = self.begin_collecting(itr + 1)
                # Episodes are kept only if the expert is to be asked about them: pictures are large.
                trajectories = [] if self.expert is None else list(episodes)
                returns, lengths, success = look_at(trajectories or episodes, self.env_name)
                scalars = return_scalars("Eval", returns, lengths) | scalars
                if success is not None:
                    scalars["Eval_SuccessRate"] = float(success.mean())
                if self.logger:
                    self.logger.log_episodes("learner", itr, returns, lengths)
                if self.expert is not None:
                    scalars |= agreement(actor, self.expert, trajectories, self.policy.discrete)
        scalars = scalars | {"TimeSinceStart": self.clock.elapsed()}
        with self.clock.phase("log"):
            if self.logger:
                self.logger.log_iteration(itr, scalars, to_tensorboard=due)
        result = IterationResult(itr, scalars, returns, lengths)
        if self.verbose:
            print(line_of(result, self.config.n_iter, self.expert_labels, self.clock.elapsed()), flush=True)
        return result

    def save(self, itr: int) -> None:
        """Writes the policy, a video where one is due, and a checkpoint to go on from."""
        if not self.logger:
            return
        with self.clock.phase("log"):
            self.policy.save(self.logger.folder / f"policy_itr_{itr}.pt")
        wants_videos = self._can_render and self.config.video_log_freq > 0
        if wants_videos and self.is_due(itr, self.config.video_log_freq):
            with self.clock.phase("video"):
                self.record_video(itr)
        with self.clock.phase("log"):
            self.fitting.itr, self.fitting.steps_done = itr + 1, 0
            self.write_checkpoint()

    def check_clock(self) -> None:
        """Writes a checkpoint in the middle of a long iteration."""
        if time.perf_counter() - self._last_checkpoint > SECONDS_BETWEEN_CHECKPOINTS:
            self.write_checkpoint()

    def save_interrupted(self, between_steps: bool = True) -> None:
        """Writes the policy as it is, and a checkpoint, if everything is as it was after a whole step."""
        if not self.logger:
            return
        if self.fitting.steps_done or not any(self.logger.folder.glob("policy_itr_*.pt")):
            self.policy.save(self.logger.folder / f"policy_itr_{self.fitting.itr}.pt")
        if between_steps and len(self.buffer):
            self.write_checkpoint()

    def write_checkpoint(self) -> None:
        """Writes what it takes to go on after `steps_done` gradient steps of iteration `itr`."""
        self._last_checkpoint = time.perf_counter()
        if not self.checkpoints or self.fitting.itr == self.config.n_iter:
            return
        self.checkpoints.save(state_of(self))

    def record_video(self, itr: int) -> None:
        """One episode from its own seed. A machine that cannot draw is told so once, and the run goes on."""
        seed = int(stream(self.config.seed, "video", itr).integers(2**62))
        try:
            frames, fps = record_frames(self.env_name, self.policy.actor(), seed, self.config.ep_len, VIDEO_FRAMES)
        except RenderError as error:
            self._can_render = False
            print(f"note: no videos: {error}", file=sys.stderr)
            return
        self.logger.log_video("eval_rollouts", itr, gif_bytes(frames, fps), frames.shape[1:])

    def roll_out(self, actor: Actor, purpose: str, itr: int, n: int) -> Iterator[Trajectory]:
        """`n` whole episodes on seeds of their own; worker processes start on them."""
        rng = stream(self.config.seed, purpose, itr)
        episodes = begin_episodes(self.env, actor, rng, self.config.ep_len, n=n)
        return self.progress(episodes, n, itr, purpose)

    def describe_data(self, itr: int, trajectories: Sequence[Trajectory]) -> dict[str, float]:
        """The course's scalars for the iteration's data, and how many labels were asked of the expert.

        A file of demonstrations may lack rewards or episodes' ends; then there is no return to speak of.
        """
        returns, lengths = returns_and_lengths([t for t in trajectories if t.terminated or t.truncated])
        scalars: dict[str, float] = {}
        if len(returns) == len(trajectories) and np.isfinite(returns).all():
            scalars = return_scalars("Train", returns, lengths)
            if itr == 0:
                self.initial_return = float(returns.mean())
        if np.isfinite(self.initial_return):
            scalars["Initial_DataCollection_AverageReturn"] = self.initial_return
        return scalars | {"Train_EnvstepsSoFar": self.env_steps, "Expert_LabelsSoFar": self.expert_labels}

    def is_due(self, itr: int, frequency: int) -> bool:
        """Every `frequency` iterations (-1: never), and always after the last."""
        return itr == self.config.n_iter - 1 or (frequency > 0 and itr % frequency == 0)

    def progress(self, items: Iterable, total: int, itr: int, what: str) -> Iterator:
        """The items, with a line on the terminal that says how far they are. Between two, Ctrl-C is heeded."""
        items = progress(items, total, f"itr {itr}/{self.config.n_iter - 1} {what}") if self.verbose else items
        for item in items:
            yield item
            self.check_signals()
