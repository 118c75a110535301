"""Train an expert on one CPU core: SAC or TQC from Stable-Baselines3 in JAX (sbx-rl), or SAC for discrete actions.

It reaches the returns of experts/README.md with these choices, which were found by experiments:
  Eight environments are stepped together. Each environment step is followed by `updates_per_step` gradient steps.
  Networks are small (2 x 128), and so are minibatches (128). Critics have LayerNorm, and the actor is updated at
  every second gradient step.
  In the last quarter of the training, the learning rate decreases to zero.
  The exported weights are a moving average of the actor's weights, at the best of the regular evaluations.
  Box2D tasks begin with experience of the heuristics in Gymnasium. Without it, the lander learns to hover.
  Ant and Humanoid see only the first numbers of their observation, which are the same in all versions. These numbers
  are standardised. Their entropy weight is fixed at 0.2. If it is learnt, it decreases to 0.014 within 200,000 steps,
  and Ant does not reach more than a return of 3,500.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Before JAX is imported: one core for each run, because parallel runs use the cores better.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from rl_il.errors import InputError, run_command
from rl_il.files import atomic_write, data_folder, to_json
from rl_il.options import CommandParser, path, positive_integer

EXAMPLES = """examples:
  pip install -e ".[experts]" -c constraints.txt
  python scripts/train_expert.py --env_name LunarLanderContinuous-v3
  python scripts/train_expert.py --env_name Hopper-v5 --seed 2 --out my_hopper.npz
  python scripts/train_expert.py --env_name Hopper-v5 --seed 2 --out my_hopper.npz --resume   (after a stop)
  python scripts/run_hw1.py --env_name Hopper-v5 --expert_policy_file my_hopper.npz --do_dagger --n_iter 5
"""


@dataclass(frozen=True)
class Settings:
    """The settings of a task's training."""

    algorithm: str = "TQC"  # or SAC, or DiscreteSAC
    steps: int = 1_000_000  # total environment steps of all environments
    gamma: float = 0.99  # discount
    updates_per_step: float = 1.0  # gradient steps for each environment step
    learning_rate: float = 3e-4
    hidden: int = 128  # units in each of the two hidden layers
    batch: int = 128  # rows in a minibatch
    drop_quantiles: int = 2  # TQC: how many of the highest of each critic's 25 quantiles are dropped
    # SAC's temperature: a fixed number, or None to learn it. DiscreteSAC takes two, for the start and the end.
    entropy_weight: float | tuple[float, float] | None = None
    reward_scale: float = 1.0
    heuristic_steps: int = 0  # environment steps of Gymnasium's heuristic, before training
    obs_slice: tuple[int, int] | None = None  # the part of the observation that the expert reads
    normalize_obs: bool = False  # by the running mean and standard deviation
    # The weight of the current actor in each update of the moving average, after each step of all environments.
    actor_average: float = 0.008


SETTINGS: dict[str, Settings] = {
    "LunarLander-v3": Settings(
        "DiscreteSAC",
        600_000,
        updates_per_step=0.5,
        learning_rate=5e-4,
        entropy_weight=(0.02, 0.0005),
        reward_scale=0.1,
        heuristic_steps=40_000,
    ),
    "LunarLanderContinuous-v3": Settings("SAC", 400_000, reward_scale=0.1, heuristic_steps=30_000),
    "BipedalWalker-v3": Settings(
        "SAC", 300_000, updates_per_step=0.5, learning_rate=5e-4, reward_scale=0.2, heuristic_steps=40_000
    ),
    "HalfCheetah-v5": Settings("SAC", 400_000),
    "Hopper-v5": Settings(steps=600_000, drop_quantiles=5),
    "Walker2d-v5": Settings(),
    "Ant-v5": Settings("SAC", 1_200_000, entropy_weight=0.2, obs_slice=(0, 27), normalize_obs=True),
    "Humanoid-v5": Settings(entropy_weight=0.2, obs_slice=(0, 45), normalize_obs=True, actor_average=0.001),
}

N_ENVS = 8
LEARNING_STARTS = 5_000  # random steps before the first gradient step
EVAL_EVERY, EVAL_EPISODES = 25_000, 20
FINAL_EPISODES = 100  # for the choice between best and last and, with other seeds, for the returns in the file


class Training:
    """A training: the model, the moving average of its actor, and the best average so far."""

    def __init__(self, env_name: str, settings: Settings, seed: int, folder: Path):
        self.env_name, self.settings, self.seed, self.folder = env_name, settings, seed, folder
        self.model = make_model(env_name, settings, seed)
        self.average = actor_weights(self.model)
        self.best = self.average
        self.best_return = -np.inf
        self.curve: list[list[float]] = []  # rows of environment steps, minutes, and mean, std and minimum of returns
        self.minutes_before = 0.0  # minutes of training before a resume

    def run(self) -> None:
        """Train to the end, and write a checkpoint at every evaluation."""
        self.start, self.steps_before = time.perf_counter(), self.model.num_timesteps
        if self.model.num_timesteps == 0 and self.settings.heuristic_steps:
            fill_with_heuristic(self.model, self.env_name, self.settings)
        remaining = self.settings.steps - self.model.num_timesteps
        if remaining > 0:
            self.model.learn(remaining, self.on_step, log_interval=None, reset_num_timesteps=False)

    def on_step(self, *_: Any) -> bool:
        """Update the average, and evaluate if that is due. Called after each step of all environments."""
        self.update_average()
        if self.model.num_timesteps // EVAL_EVERY > (self.model.num_timesteps - N_ENVS) // EVAL_EVERY:
            self.evaluate()
        return True

    def update_average(self) -> None:
        """Move the average a little towards the current actor."""
        rate = self.settings.actor_average
        for (mean_w, mean_b), (w, b) in zip(self.average, actor_weights(self.model), strict=True):
            mean_w += rate * (w - mean_w)
            mean_b += rate * (b - mean_b)

    def evaluate(self) -> None:
        """Evaluate the averaged actor, keep it if it is the best so far, print a line, and save."""
        from rl_il.seeding import stream

        result = measure(self.average, self.env_name, self.settings, EVAL_EPISODES, stream(0, "expert", 1))
        steps, total = self.model.num_timesteps, self.settings.steps
        elapsed = time.perf_counter() - self.start
        minutes, rate = self.minutes_before + elapsed / 60, (steps - self.steps_before) / elapsed
        self.curve.append([steps, round(minutes, 2), result["mean"], result["std"], result["min"]])
        if result["mean"] > self.best_return:
            self.best_return = result["mean"]
            self.best = [(w.copy(), b.copy()) for w, b in self.average]
        print(
            f"{self.env_name} seed {self.seed} | {steps:,} of {total:,} steps | return {result['mean']:.0f} +-"
            f" {result['std']:.0f} | best {self.best_return:.0f} | {rate:.0f} steps/s,"
            f" about {(total - steps) / rate / 60:.0f} min left",
            flush=True,
        )
        self.save()

    def save(self) -> None:
        """Write what `resume` needs into a new folder. The folder then replaces the old checkpoint."""
        new, old = self.folder / "checkpoint.new", self.folder / "checkpoint.old"
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
        new.mkdir(parents=True)
        self.model.save(new / "model.zip")
        self.model.save_replay_buffer(new / "replay_buffer.pkl")
        if self.settings.normalize_obs:
            observation_normalizer(self.model).save(new / "normalizer.pkl")
        arrays = {f"average_{name}": array for name, array in named(self.average).items()}
        arrays |= {f"best_{name}": array for name, array in named(self.best).items()}
        arrays |= {"best_return": self.best_return, "curve": np.array(self.curve)}
        np.savez(new / "averages.npz", **arrays, settings=np.array(to_json(dataclasses.asdict(self.settings))))
        if self.checkpoint.exists():
            self.checkpoint.rename(old)
        new.rename(self.checkpoint)
        shutil.rmtree(old, ignore_errors=True)

    @property
    def checkpoint(self) -> Path:
        """Return the folder of the last checkpoint."""
        return self.folder / "checkpoint"

    def resume(self) -> None:
        """Continue from the last checkpoint. It contains pickles, so the folder must be trusted."""
        if not self.checkpoint.is_dir():
            raise InputError(f"{self.folder}: holds no checkpoint to resume from; drop --resume")
        with np.load(self.checkpoint / "averages.npz", allow_pickle=False) as file:
            self.check_settings(json.loads(str(file["settings"])))
            self.average, self.best = (
                [(file[f"{name}_w{i}"], file[f"{name}_b{i}"]) for i in range(3)] for name in ("average", "best")
            )
            self.best_return, self.curve = float(file["best_return"]), file["curve"].tolist()
        self.minutes_before = self.curve[-1][1]
        model, replay_buffer = self.checkpoint / "model.zip", self.checkpoint / "replay_buffer.pkl"
        if self.settings.algorithm == "DiscreteSAC":
            self.model.restore(model, replay_buffer)
            return
        envs = self.model.get_env()
        if self.settings.normalize_obs:
            envs = type(envs).load(self.checkpoint / "normalizer.pkl", envs.venv)
        self.model = type(self.model).load(model, env=envs)
        self.model.load_replay_buffer(replay_buffer)

    def check_settings(self, saved: dict[str, Any]) -> None:
        """Raise `InputError` if the checkpoint has other settings, except for `steps`."""
        now = json.loads(to_json(dataclasses.asdict(self.settings)))
        different = [name for name in now if name != "steps" and saved.get(name) != now[name]]
        if different:
            changes = ", ".join(f"{name} {saved.get(name)} (now {now[name]})" for name in different)
            raise InputError(f"{self.folder}: was trained with {changes}; give another --folder")


def make_model(env_name: str, settings: Settings, seed: int):
    """Return the model that learns, with its eight environments."""
    import sbx
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    envs = DummyVecEnv([lambda: training_env(env_name, settings)] * N_ENVS)
    if settings.normalize_obs:
        envs = VecNormalize(envs, norm_reward=False, clip_obs=np.inf)
    learning_starts = 0 if settings.heuristic_steps else LEARNING_STARTS
    if settings.algorithm == "DiscreteSAC":
        from _discrete_sac import DiscreteSAC

        names = "steps gamma updates_per_step learning_rate hidden batch entropy_weight".split()
        chosen = {name: getattr(settings, name) for name in names}
        envs.seed(seed)
        return DiscreteSAC(envs, **chosen, learning_starts=learning_starts, seed=seed)
    tqc = {"top_quantiles_to_drop_per_net": settings.drop_quantiles} if settings.algorithm == "TQC" else {}
    return getattr(sbx, settings.algorithm)(
        "MlpPolicy",
        envs,
        learning_rate=lambda left: settings.learning_rate * min(1.0, 4 * left),
        gamma=settings.gamma,
        batch_size=settings.batch,
        buffer_size=min(settings.steps, 1_000_000),
        learning_starts=learning_starts,
        train_freq=1,
        gradient_steps=round(N_ENVS * settings.updates_per_step),
        policy_delay=2,
        ent_coef="auto" if settings.entropy_weight is None else settings.entropy_weight,
        policy_kwargs={"net_arch": [settings.hidden] * 2, "layer_norm": True},
        seed=seed,
        **tqc,
    )


def training_env(env_name: str, settings: Settings):
    """Return the environment for training, with the used part of the observation and the scaled reward."""
    import gymnasium as gym

    from rl_il.envs import make_env

    env = make_env(env_name)
    if settings.obs_slice:
        part, space = slice(*settings.obs_slice), env.observation_space
        sliced = gym.spaces.Box(space.low[part], space.high[part], dtype=space.dtype)
        env = gym.wrappers.TransformObservation(env, lambda ob: ob[part], sliced)
    return gym.wrappers.TransformReward(env, lambda reward: settings.reward_scale * reward)


def fill_with_heuristic(model, env_name: str, settings: Settings) -> None:
    """Fill the replay buffer with the heuristic's steps. In environment i, i / 8 of the actions are random."""
    from rl_il.envs import is_discrete

    assert not settings.normalize_obs, "the buffer needs raw observations, and VecNormalize changes them"
    rng = np.random.default_rng(model.seed)
    envs, obs = model.get_env(), model.get_env().reset()
    act = [heuristic(env_name, env) for env in envs.envs]
    for _ in range(settings.heuristic_steps // N_ENVS):
        wanted = np.array([act[i](obs[i]) for i in range(N_ENVS)])
        disturbed = rng.random(N_ENVS) < np.arange(N_ENVS) / N_ENVS
        if is_discrete(envs.action_space):
            acs = np.where(disturbed, rng.integers(envs.action_space.n, size=N_ENVS), wanted)
        else:
            random = rng.uniform(-1, 1, (N_ENVS, *envs.action_space.shape))
            acs = np.clip(np.where(disturbed[:, None], random, wanted), -1, 1).astype(np.float32)
        next_obs, rewards, dones, infos = envs.step(acs)
        stored = next_obs.copy()
        for i in np.flatnonzero(dones):
            stored[i] = infos[i]["terminal_observation"]
            act[i] = heuristic(env_name, envs.envs[i])
        model.replay_buffer.add(obs, stored, acs, rewards, dones, infos)
        obs = next_obs


def heuristic(env_name: str, env):
    """Return a new instance of Gymnasium's controller for a Box2D task, for one episode."""
    if env_name.startswith("LunarLander"):
        from gymnasium.envs.box2d.lunar_lander import heuristic as lander

        return lambda ob: lander(env.unwrapped, ob)
    from gymnasium.envs.box2d.bipedal_walker import BipedalWalkerHeuristics

    return BipedalWalkerHeuristics().step_heuristic


def actor_weights(model) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return weights and bias of the actor's hidden layers and of its mean, in double precision.

    They are for raw observations. The standardisation is merged into the first layer, so that actors with different
    means and standard deviations can be averaged.
    """
    layers = model.actor_params() if hasattr(model, "actor_params") else model.policy.actor_state.params["params"]
    layers = [layers[f"Dense_{i}"] for i in range(3)]
    weights = [(np.array(layer["kernel"], np.float64), np.array(layer["bias"], np.float64)) for layer in layers]
    normalizer = observation_normalizer(model)
    if normalizer:  # ((x - mean) / std) @ w + b = x @ (w / std) + (b - mean / std @ w)
        w, b = weights[0]
        w = w / np.sqrt(normalizer.obs_rms.var + normalizer.epsilon)[:, None]
        weights[0] = w, b - normalizer.obs_rms.mean @ w
    return weights


def file_arrays(model, weights) -> dict[str, np.ndarray]:
    """Return the arrays of the expert's file, in single precision.

    The standardisation has separate arrays there. If it were merged into the first layer, digits would be lost.
    """
    arrays = named(weights)
    normalizer = observation_normalizer(model)
    if normalizer:
        mean, std = normalizer.obs_rms.mean, np.sqrt(normalizer.obs_rms.var + normalizer.epsilon)
        w, b = weights[0]
        arrays |= {"w0": w * std[:, None], "b0": b + mean @ w, "obs_mean": mean, "obs_std": std}
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def observation_normalizer(model):
    """Return the model's VecNormalize, or None."""
    from stable_baselines3.common.vec_env import unwrap_vec_normalize

    return unwrap_vec_normalize(model.get_env())


def named(weights: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the arrays under the names of the expert's file: w0, b0, w1, ..."""
    return {f"{'wb'[j]}{i}": layer[j] for i, layer in enumerate(weights) for j in range(2)}


def numpy_actor(weights: list[tuple[np.ndarray, np.ndarray]], env, settings: Settings):
    """Return the actor in double precision. The actor of its file agrees with it to 1e-5."""
    from rl_il.envs import is_discrete
    from rl_il.policies.actors import NumpyActor

    part = slice(*settings.obs_slice) if settings.obs_slice else slice(None)
    discrete = is_discrete(env.action_space)
    head = {"output": "argmax"} if discrete else {"output": "tanh", "action_scale": env.action_space.high}
    return NumpyActor(weights, "relu", ob_shape=env.observation_space.shape, obs_slice=part, dtype=np.float64, **head)


def measure(weights, env_name: str, settings: Settings, episodes: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return statistics of new episodes of the averaged actor."""
    from rl_il.envs import make_env

    env = make_env(env_name)
    result = measure_actor(numpy_actor(weights, env, settings), env, episodes, rng)
    env.close()
    return result


def measure_actor(actor, env, episodes: int, rng: np.random.Generator) -> dict[str, Any]:
    """Return statistics of new episodes of an actor."""
    from rl_il.infrastructure.rollouts import returns_and_lengths, sample_n_trajectories
    from rl_il.statistics import describe

    return describe(*returns_and_lengths(list(sample_n_trajectories(env, actor, episodes, rng))))


def choose(training: Training) -> tuple[str, list]:
    """Return name and weights of the best averaged actor, or of the last one if it is better on 100 episodes."""
    from rl_il.seeding import stream

    candidates = {"best": training.best, "final": training.average}
    task = training.env_name, training.settings
    rng = {name: stream(0, "expert", 2) for name in candidates}
    means = {name: measure(w, *task, FINAL_EPISODES, rng[name])["mean"] for name, w in candidates.items()}
    print("  ".join(f"{name}: {mean:.1f}" for name, mean in means.items()), flush=True)
    name = max(means, key=means.get)
    return name, candidates[name]


def export(training: Training, out: Path) -> None:
    """Write the expert's file, measure it on the episodes of experts/README.md, and print its row for that table.

    This training has not used those episodes. If several trainings are compared by this row, the
    chosen one must be measured on another seed.
    """
    from rl_il.envs import is_discrete, make_env
    from rl_il.experts.loading import load_actor
    from rl_il.report.tables import markdown
    from rl_il.runs.evaluate import EXPERT_COLUMNS, expert_row
    from rl_il.seeding import stream

    name, weights = choose(training)
    env, settings = make_env(training.env_name), training.settings
    packages = ("gymnasium", "mujoco", "numpy", "jax", "sbx-rl", "box2d")
    discrete = is_discrete(env.action_space)
    head = {"output": "argmax"} if discrete else {"output": "tanh", "action_scale": env.action_space.high.tolist()}
    meta: dict[str, Any] = {
        "env_id": training.env_name,
        "activation": "relu",
        **head,
        **({"obs_slice": list(settings.obs_slice)} if settings.obs_slice else {}),
        "algorithm": settings.algorithm,
        "settings": dataclasses.asdict(settings),
        "seed": training.seed,
        "checkpoint": name,
        "env_steps": training.model.num_timesteps,
        "minutes_one_core": training.curve[-1][1] if training.curve else None,
        "versions": {package: importlib.metadata.version(package) for package in packages},
    }
    write_file(out, meta, file_arrays(training.model, weights))
    exported = load_actor(out, env)
    check_export(training, weights, exported, env)
    result = measure_actor(exported, env, FINAL_EPISODES, stream(0, "evaluation"))
    scores = {f"return_{name}": result[name] for name in ("mean", "std", "min")}
    write_file(out, meta | {"episodes": FINAL_EPISODES} | scores, file_arrays(training.model, weights))
    row = expert_row(result | {"env_name": training.env_name, "expert": out.name})
    print(f"{out} is written\n{markdown([EXPERT_COLUMNS, row])}")


def write_file(out: Path, meta: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write the expert's file."""
    with atomic_write(out) as file:
        np.savez_compressed(file, meta=np.array(to_json(meta)), **arrays)


def check_export(training: Training, weights, exported, env) -> None:
    """Check two agreements to 1e-5, on states of the training: of file and weights, and of NumPy and JAX.

    These are two checks because the exported weights are an average, which JAX has never used.
    """
    model, settings = training.model, training.settings
    stored = model.replay_buffer.observations
    rows = np.random.default_rng(0).integers(min(model.num_timesteps // N_ENVS, len(stored)), size=256)
    obs = stored[rows].reshape(256, -1, len(weights[0][0]))[:, 0].astype(np.float32)
    padded = np.zeros((256, *env.observation_space.shape), np.float32)
    padded[:, : obs.shape[1]] = obs
    acs = numpy_actor(weights, env, settings).get_action(padded)
    np.testing.assert_allclose(exported.get_action(padded), acs, atol=1e-5)
    actor = numpy_actor(actor_weights(model), env, settings)
    actor.output = "identity"
    outputs = actor.get_action(padded)
    if settings.algorithm == "DiscreteSAC":
        expected = np.asarray(model.actor.apply(model.state.actor, obs))
    else:
        state, normalizer = model.policy.actor_state, observation_normalizer(model)
        seen = normalizer.normalize_obs(obs) if normalizer else obs
        outputs, expected = np.tanh(outputs), np.asarray(state.apply_fn(state.params, seen).mode())
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)


def main() -> None:
    """Parse the flags, train, and export the expert."""
    parser = CommandParser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("--env_name", "-env", required=True, choices=SETTINGS, help="the task")
    add("--seed", type=int, default=1, help="seed of weights, exploration and minibatches")
    add("--steps", type=positive_integer, help="environment steps (default: those of the task's settings)")
    help = "checkpoints' folder, up to 1 GB (default: experts/ENV_NAME_seed_SEED in ./data or $RL_IL_DATA)"
    add("--folder", type=path, help=help)
    add("--out", type=path, help="the expert's file (default: ENV_NAME.npz in that folder)")
    add("--resume", action="store_true", help="continue from the folder's last checkpoint")
    args = parser.parse_args()
    settings = SETTINGS[args.env_name]
    if args.steps:
        settings = dataclasses.replace(settings, steps=args.steps)
    try:
        import sbx  # noqa: F401
    except ImportError as error:
        raise InputError('needs `pip install -e ".[experts]" -c constraints.txt`') from error
    folder = args.folder or data_folder() / "experts" / f"{args.env_name}_seed_{args.seed}"
    if not args.resume and (folder / "checkpoint").exists():
        raise InputError(f"{folder}: holds a training; continue it with --resume, or give another --folder")
    training = Training(args.env_name, settings, args.seed, folder)
    if args.resume:
        training.resume()
    print(f"{args.env_name}, seed {args.seed}: {json.dumps(dataclasses.asdict(settings))}", flush=True)
    training.run()
    export(training, args.out or folder / f"{args.env_name}.npz")


if __name__ == "__main__":
    run_command(main)
