"""The training loop of behavioural cloning and DAgger."""

from __future__ import annotations

import dataclasses
import itertools
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import gymnasium as gym
import numpy as np

from rl_il.config import RunConfig
from rl_il.envs import name_of
from rl_il.errors import DivergedError, InputError
from rl_il.infrastructure.augmentation import augment
from rl_il.infrastructure.checkpoint import Checkpoints
from rl_il.infrastructure.compiled import CompiledUpdate, CompileError
from rl_il.infrastructure.logger import IterationResult, Logger, return_scalars
from rl_il.infrastructure.progress import progress, seconds
from rl_il.infrastructure.replay_buffer import ReplayBuffer
from rl_il.infrastructure.rollouts import RolloutSource, begin_episodes, enough, look_at, returns_and_lengths
from rl_il.infrastructure.seeding import stream
from rl_il.infrastructure.trainer_state import state_of
from rl_il.infrastructure.video import RenderError, gif_bytes, record_frames
from rl_il.statistics import bootstrap_interval
from rl_il.types import Actor, Batch, Expert, Trajectory

if TYPE_CHECKING:  # the rooms above; the loop only calls what they promise
    from torch import Tensor

    from rl_il.dagger import CollectionRule
    from rl_il.policies.mlp_policy import MLPPolicySL

GOOD_WEIGHTS_EVERY = 500  # gradient steps
SECONDS_BETWEEN_CHECKPOINTS = 60  # within an iteration; there is one after each
LOSS_WINDOW = 100  # minibatches at an iteration's end over which `Training Loss` is averaged
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
        self.compiles = config.compiles(sum(int(t.labelled_steps.sum()) for t in demonstrations))
        self.compiles &= policy.compile_pays or config.compile == "on"
        self.augmentations = config.augmentations()
        self.compiled: CompiledUpdate | None = None
        self.begun: Iterator[Trajectory] | None = None  # the next iteration's collection
        self.losses: deque[float] = deque(maxlen=LOSS_WINDOW)
        self.results: list[IterationResult] = []
        self.itr = 0
        # Going on after a stop: where, and what was recorded of it.
        self.checkpoints: Checkpoints | None = None
        self.resumed = False
        self.first_itr = self.steps_done = self.steps_to_skip = 0
        self.recorded: dict[int, list[Trajectory]] = {}
        self.good_weights: dict[str, Tensor] | None = None
        self.check_signals: Callable[[], None] = lambda: None
        self._last_checkpoint = time.perf_counter()
        self.initial_return = np.nan  # of the demonstrations
        self.expert_labels = 0
        self.env_steps = 0
        self.wall_seconds: dict[str, float] = {}
        self._start = time.perf_counter()
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
        with self.phase("collect"):
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
        """The iteration's episodes, without end; worker processes start on them."""
        actor = self.rule.actor(self.policy.actor(), itr)
        rng = stream(self.config.seed, "collection", itr)
        return begin_episodes(self.env, actor, rng, self.config.ep_len)

    def store(self, itr: int, trajectories: Sequence[Trajectory]) -> None:
        """Adds the labelled steps to the buffer, and keeps them for a run that goes on after a stop."""
        if self.checkpoints:
            self.logger.check_folder()
            self.checkpoints.add_data(itr, trajectories)
        self.add_to_buffer(itr, trajectories)

    def add_to_buffer(self, itr: int, trajectories: Sequence[Trajectory]) -> None:
        """Adds the labelled steps to the buffer, less the fraction that is held out for validation.

        Single steps are held out, since one demonstration cannot be parted otherwise: the validation loss
        says how well the policy fits the expert on such states, and nothing about where it drifts to. Where
        observations are stacked, and so lie in their neighbours' stacks too, it is each episode's end.
        """
        self.expert_labels += sum(int(t.labelled_steps.sum()) for t in trajectories)
        if self.config.val_fraction == 0:
            self.buffer.add(trajectories)
            return
        rng = stream(self.config.seed, "validation", itr)
        for trajectory in trajectories:
            steps = len(trajectory)
            if self.policy.frame_stack > 1:
                cut = steps - int(self.config.val_fraction * steps)
                self.buffer.add([trajectory[:cut]])
                self.validation.add([trajectory[cut:]] if cut < steps else [])
                continue
            held_out = np.zeros(steps, bool)
            held_out[rng.permutation(steps)[: int(self.config.val_fraction * steps)]] = True
            labelled = trajectory.labelled_steps
            self.buffer.add([dataclasses.replace(trajectory, labelled=labelled & ~held_out)])
            self.validation.add([dataclasses.replace(trajectory, labelled=labelled & held_out)])

    def train(self, itr: int) -> dict[str, float]:
        """Fits the policy to the buffer, going on from the weights it has."""
        minibatches, n_steps = self.minibatches(itr)
        if self.steps_to_skip > n_steps:
            raise InputError(f"the checkpoint is of gradient step {self.steps_to_skip}, but there are {n_steps}")
        if self.steps_to_skip == 0:
            self.losses.clear()
        self.steps_done, self.steps_to_skip = self.steps_to_skip, 0
        return self.fit(itr, itertools.islice(minibatches, self.steps_done, None), n_steps - self.steps_done)

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
        self.itr = itr
        gradient_step = self.gradient_step()
        with self.phase("train"):
            self.keep_good_weights()
            for minibatch in self.progress(itertools.islice(minibatches, n_steps), n_steps, itr, "training"):
                self.losses.append(gradient_step(minibatch))
                self.steps_done += 1
                if not math.isfinite(self.losses[-1]):
                    self.stop_diverged(itr)
                if self.steps_done % GOOD_WEIGHTS_EVERY == 0:
                    self.keep_good_weights() or self.stop_diverged(itr)
                self.check_clock()
            self.keep_good_weights() or self.stop_diverged(itr)
            scalars = {"Training Loss": float(np.mean(self.losses))}
            if len(self.validation):
                scalars |= self.validate()
        return scalars

    def validate(self) -> dict[str, float]:
        """The policy's metrics on the steps held out, some at a time: stacked pictures are large."""
        minibatches = self.validation.in_order(4096)
        parts = [(len(rows), self.policy.validate(*self.validation.batch(rows))) for rows in minibatches]
        total = sum(n for n, _ in parts)
        return {name: sum(n * part[name] for n, part in parts) / total for name in parts[0][1]}

    def keep_good_weights(self) -> bool:
        """Keeps a copy of the weights, if they are all finite; returns whether they are."""
        if not self.logger:
            return True
        weights = self.policy.state_dict()
        finite = all(bool(tensor.isfinite().all()) for tensor in weights.values())
        if finite:
            self.good_weights = {name: tensor.clone() for name, tensor in weights.items()}
        return finite

    def stop_diverged(self, itr: int) -> None:
        """Saves the weights as they last were good, and raises `DivergedError`."""
        where = ""
        if self.logger and self.good_weights is not None:
            self.policy.load_state_dict(self.good_weights)
            self.policy.save(self.logger.folder / "policy_last_good.pt")
            where = f"; the weights as they last were good are in {self.logger.folder / 'policy_last_good.pt'}"
        raise DivergedError(
            f"training diverged in iteration {itr}: after minibatch {self.steps_done} the loss or a weight is not"
            f" finite; lower --learning_rate{where}"
        )

    def gradient_step(self) -> Callable[[Tensor], float]:
        """A function that fits the policy to the rows of these numbers, once, and returns their loss."""
        if self.compiles:
            try:
                with self.phase("compile"):
                    self.compiled = self.compiled or CompiledUpdate(self.policy, self.config.train_batch_size)
                    return self.compiled.on(self.buffer, self.batch)
            except CompileError as error:
                self.compiles = False
                print(f"note: the gradient step is not compiled, and slower: {error}", file=sys.stderr)
        return lambda rows: self.policy.update(*self.batch(rows))["Training Loss"]

    def batch(self, rows: Tensor) -> Batch:
        """The buffer's rows of these numbers, augmented if the run asks for it."""
        batch = self.buffer.batch(rows)
        if not self.augmentations:
            return batch
        return augment(batch, self.augmentations, stream(self.config.seed, "augmentation", self.itr, self.steps_done))

    def evaluate(self, itr: int, scalars: dict[str, float]) -> IterationResult:
        """Rolls out fresh episodes with a frozen copy of the policy, and logs the iteration."""
        due = self.is_due(itr, self.config.scalar_log_freq)
        returns, lengths = np.empty(0), np.empty(0, int)
        if due:
            with self.phase("evaluate"):
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
        scalars = scalars | {"TimeSinceStart": self.elapsed()}
        with self.phase("log"):
            if self.logger:
                self.logger.log_iteration(itr, scalars, to_tensorboard=due)
        result = IterationResult(itr, scalars, returns, lengths)
        if self.verbose:
            self.print_line(result)
        return result

    def save(self, itr: int) -> None:
        """Writes the policy, a video where one is due, and a checkpoint to go on from."""
        if not self.logger:
            return
        with self.phase("log"):
            self.policy.save(self.logger.folder / f"policy_itr_{itr}.pt")
        wants_videos = self._can_render and self.config.video_log_freq > 0
        if wants_videos and self.is_due(itr, self.config.video_log_freq):
            with self.phase("video"):
                self.record_video(itr)
        with self.phase("log"):
            self.itr, self.steps_done = itr + 1, 0
            self.write_checkpoint()

    def check_clock(self) -> None:
        """Writes a checkpoint in the middle of a long iteration."""
        if time.perf_counter() - self._last_checkpoint > SECONDS_BETWEEN_CHECKPOINTS:
            self.write_checkpoint()

    def save_interrupted(self, between_steps: bool = True) -> None:
        """Writes the policy as it is, and a checkpoint, if everything is as it was after a whole step."""
        if not self.logger:
            return
        if self.steps_done or not any(self.logger.folder.glob("policy_itr_*.pt")):
            self.policy.save(self.logger.folder / f"policy_itr_{self.itr}.pt")
        if between_steps and len(self.buffer):
            self.write_checkpoint()

    def write_checkpoint(self) -> None:
        """Writes what it takes to go on after `steps_done` gradient steps of iteration `itr`."""
        self._last_checkpoint = time.perf_counter()
        if not self.checkpoints or self.itr == self.config.n_iter:
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

    def print_line(self, result: IterationResult) -> None:
        """The iteration in one line, with the time that the rest will take if it goes on like this."""
        itr, last, scalars = result.itr, self.config.n_iter - 1, result.scalars
        line = f"itr {itr:>{len(str(last))}}/{last} | loss {scalars['Training Loss']:.4f}"
        if len(result.returns):
            low, high = bootstrap_interval([result.returns], n_resamples=1000)
            interval = f" [{low:.1f}, {high:.1f}]" if len(result.returns) > 1 else ""
            episodes = "1 episode" if len(result.returns) == 1 else f"{len(result.returns)} episodes"
            line += f" | eval return {result.returns.mean():.1f}{interval} over {episodes}"
        elapsed = self.elapsed()
        left = elapsed / (itr + 1) * (last - itr)
        line += f" | expert labels {self.expert_labels:,} | {seconds(elapsed)}"
        print(line + (f", about {seconds(left)} left" if itr < last else ""), flush=True)

    def begin_clock(self, seconds: float) -> None:
        """Counts from now on, as if the trainer had been made so long ago."""
        self._start = time.perf_counter() - seconds

    def elapsed(self) -> float:
        """Seconds since the trainer was made."""
        return time.perf_counter() - self._start

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Adds the time that its block takes to `wall_seconds[name]`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.wall_seconds[name] = self.wall_seconds.get(name, 0.0) + time.perf_counter() - start


def agreement(actor: Actor, expert: Expert, trajectories: Sequence[Trajectory], discrete: bool) -> dict[str, float]:
    """How the actor differs from the expert on the states of its own rollouts.

    Discrete: the fraction of states with the same action. Continuous: the root mean square difference of the
    unclipped actions.
    """
    obs = np.concatenate([t.obs[:-1] for t in trajectories])
    acs, labels = actor.get_action(obs), expert.get_action(obs)
    if discrete:
        return {"Eval_ExpertAgreement": float(np.mean(acs == labels))}
    return {"Eval_ExpertDistance": float(np.sqrt(np.mean((acs - labels) ** 2)))}
