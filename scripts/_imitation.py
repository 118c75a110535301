"""Programs for a Python that has imitation 1.0.1, for the comparisons of `benchmark.py`.

python _imitation.py bc                                                          prints gradient steps/s
python _imitation.py dagger ENV DEMONSTRATIONS GRADIENT_STEPS EVAL_EPISODES EXPERT   makes a DAgger run
"""

import sys
import tempfile
import time

import numpy as np
import torch
from _peers import BATCH_SIZE, N_ITER, expert_network, numbers_from
from gymnasium import spaces
from imitation.algorithms.bc import BC
from imitation.algorithms.dagger import SimpleDAggerTrainer
from imitation.data.types import Trajectory, Transitions
from imitation.util import logger
from imitation.util.util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.policies import ActorCriticPolicy


def bc() -> None:
    """Print the gradient steps/s of `BC.train` on random numbers."""
    rng, rows = np.random.default_rng(0), 20_000
    obs, acs = rng.normal(size=(rows, 17)).astype(np.float32), rng.normal(size=(rows, 6)).astype(np.float32)
    data = Transitions(obs=obs, acts=acs, infos=np.array([{}] * rows), next_obs=obs, dones=np.zeros(rows, bool))
    trainer = bc_trainer(spaces.Box(-np.inf, np.inf, (17,), np.float32), spaces.Box(-1, 1, (6,), np.float32), data)
    trainer.train(n_batches=20, progress_bar=False)
    start = time.perf_counter()
    trainer.train(n_batches=300, progress_bar=False)
    print(300 / (time.perf_counter() - start))


def dagger(env_name: str, demos: str, n_steps: int, eval_episodes: int, expert: str) -> None:
    """Make a run of `SimpleDAggerTrainer` with the same amounts as the other side. The policy always acts."""
    rng = np.random.default_rng(0)
    env = make_vec_env(env_name, rng=rng, n_envs=1)
    episodes = demonstrations(demos)
    learner = bc_trainer(env.observation_space, env.action_space, episodes)
    training = {"n_batches": n_steps, "progress_bar": False}
    with tempfile.TemporaryDirectory() as folder:
        trainer = SimpleDAggerTrainer(
            venv=env,
            scratch_dir=folder,
            expert_policy=expert_policy(env, expert),
            rng=rng,
            expert_trajs=episodes,
            beta_schedule=lambda _: 0.0,
            bc_trainer=learner,
        )
        learner.train(**training)
        for itr in range(N_ITER):
            if itr:
                amounts = {"rollout_round_min_episodes": 1, "rollout_round_min_timesteps": BATCH_SIZE}
                trainer.train(1, **amounts, bc_train_kwargs=training)  # ends after one round
            print(itr, *evaluate_policy(learner.policy, env, eval_episodes), flush=True)
            learner.policy.save(f"{folder}/policy_itr_{itr}.pt")


def bc_trainer(obs_space: spaces.Space, ac_space: spaces.Space, demonstrations) -> BC:
    """Return imitation's BC with the course's network and settings. It writes no log."""
    return BC(
        observation_space=obs_space,
        action_space=ac_space,
        rng=np.random.default_rng(0),
        policy=new_policy(obs_space, ac_space, [64, 64], torch.nn.Tanh),
        demonstrations=demonstrations,
        batch_size=100,
        optimizer_kwargs={"lr": 5e-3},
        device="cpu",
        custom_logger=logger.configure(tempfile.mkdtemp(), []),
    )


def new_policy(obs_space: spaces.Space, ac_space: spaces.Space, sizes: list[int], activation) -> ActorCriticPolicy:
    """Return a policy with new weights."""
    return ActorCriticPolicy(obs_space, ac_space, lambda _: 5e-3, net_arch=sizes, activation_fn=activation)


def expert_policy(env, file: str) -> ActorCriticPolicy:
    """Return an included expert with discrete actions as a policy of Stable-Baselines3."""
    network = expert_network(file)
    policy = new_policy(env.observation_space, env.action_space, [128, 128], torch.nn.ReLU)
    policy.mlp_extractor.policy_net.load_state_dict(network[:-1].state_dict())
    policy.action_net.load_state_dict(network[-1].state_dict())
    return policy


def demonstrations(file: str) -> list[Trajectory]:
    """Return the episodes of an included file of demonstrations."""
    data = np.load(file)
    names, firsts = ("observations", "actions", "terminations"), np.flatnonzero(data["episode_starts"])
    parts = (np.split(data[name], firsts[1:]) for name in names)
    return [
        Trajectory(obs=np.concatenate([obs, last[None]]), acts=acs, infos=None, terminal=bool(ends[-1]))
        for obs, acs, ends, last in zip(*parts, data["final_observations"], strict=True)
    ]


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as tempfile.tempdir:  # imitation leaves temporary files
        {"bc": bc, "dagger": dagger}[sys.argv[1]](*numbers_from(sys.argv[2:]))
