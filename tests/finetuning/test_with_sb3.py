"""PPO from clones in run folders, with Stable-Baselines3 itself. `make test-sb3` runs this file."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from calling import assert_refused
from clones import SMALL, clone_of, same, states_of
from small_runs import Stopped, rows_of, weights_of

from rl_il.errors import DivergedError, InputError, Interrupted
from rl_il.finetune_config import TEMPERATURE, FinetuneConfig
from rl_il.policies.policy_file import load_policy
from rl_il.runs.experiment import resume, run

pytestmark = pytest.mark.sb3


def run_in(folder: Path, config: FinetuneConfig, **settings):
    from rl_il.finetuning.experiment import FINETUNING

    return run(replace(config, logdir=str(folder), **settings), verbose=False, kind=FINETUNING)


def test_a_run_begins_with_the_clone_and_leaves_policies_and_counts(tmp_path, clone):
    run_in(tmp_path / "run", SMALL, policy=str(clone))
    rows = rows_of(tmp_path / "run")
    assert [int(row["Train_EnvstepsSoFar"]) for row in rows] == [0, 128, 256]
    assert [int(row["gradient_steps"]) for row in rows] == [0, 8, 16]
    assert rows[0]["Training Loss"] == "" and float(rows[2]["PPO_explained_variance"]) <= 1
    obs = states_of((4,))
    first, last = (load_policy(tmp_path / "run" / f"policy_itr_{itr}.pt") for itr in (0, 2))
    for policy, equal in ((first, True), (last, False)):
        logits = [each.head.network(each.encoder(torch.tensor(obs))) for each in (policy, load_policy(clone))]
        assert torch.equal(*logits) == equal
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["env_steps"], summary["iterations"]) == ("finished", 256, 3)


def test_a_training_that_diverges_keeps_the_last_policy(tmp_path, clone):
    with pytest.raises(DivergedError, match="--learning_rate"):
        run_in(tmp_path / "run", SMALL, policy=str(clone), learning_rate=1e30)
    assert load_policy(tmp_path / "run" / "policy_last_good.pt").ac_dim == 2


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_a_stop_and_a_resume_give_the_same_run(tmp_path, monkeypatch, clone, blocks):
    from rl_il.finetuning.experiment import FINETUNING

    config = replace(SMALL, policy=str(clone), total_timesteps=384, critic_warmup=128, kl_to_clone=0.5)
    run_in(tmp_path / "whole", config)
    with monkeypatch.context() as patch:
        patch.setattr("rl_il.runs.training.noted_signals", Stopped(blocks))
        with pytest.raises(Interrupted, match=r"finetune.* --resume"):
            run_in(tmp_path / "stopped", config)
    resume(tmp_path / "stopped", verbose=False, kind=FINETUNING)
    assert weights_of(tmp_path / "whole") == weights_of(tmp_path / "stopped")
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "stopped")


def test_a_changed_clone_is_noticed(tmp_path, monkeypatch, clone):
    from rl_il.finetuning.experiment import FINETUNING

    own = tmp_path / "own.pt"
    own.write_bytes(clone.read_bytes())
    with monkeypatch.context() as patch:
        patch.setattr("rl_il.runs.training.noted_signals", Stopped(2))
        with pytest.raises(Interrupted):
            run_in(tmp_path / "run", SMALL, policy=str(own))
    policy = load_policy(own)
    policy.head.network[0].bias.data += 1
    policy.save(own)
    with pytest.raises(InputError, match=r"own\.pt"):
        resume(tmp_path / "run", verbose=False, kind=FINETUNING)


def test_every_command_takes_such_a_run(call):
    task = "--env_name MountainCar-v0 --n_demos 1 --ep_len 30 --video_log_freq -1 --eval_episodes 2"
    assert call(f"run_hw1 {task} --num_agent_train_steps_per_iter 20 --logdir clone")[0] == 0
    how = "--total_timesteps 60 --eval_every 30 --n_envs 2 --n_steps 16 --train_batch_size 16 --eval_episodes 2"
    status, out, err = call(f"finetune --policy clone {how} --critic_warmup 0 --logdir tuned")
    assert status == 0, err
    assert "itr 2/2" in out and "expert" in out
    assert "every 32 environment steps, up to 64" in out  # whole updates
    policies = [load_policy(Path(f"tuned/policy_itr_{itr}.pt")) for itr in (0, 1, 2)]
    assert not any(same(a.parameters(), b.parameters()) for a, b in pairwise(policies))
    record = json.loads(Path("tuned/config.json").read_text())
    config = record["config"]
    assert record["versions"]["stable-baselines3"].startswith("2.")
    assert (config["env_name"], config["ep_len"]) == ("MountainCar-v0", 30)
    assert call("evaluate --policy tuned --episodes 1")[0] == 0
    task += " --num_agent_train_steps_per_iter 5"
    assert call(f"run_hw1 {task} --do_dagger --n_iter 2 --batch_size 30 --expert_policy_file tuned")[0] == 0
    assert call("export --policy tuned --to tuned.zip")[0] == 0
    status, out, err = call("report clone tuned --out report.html")
    assert status == 0, err
    assert "PPO, iteration 2" in out and "BC" in out
    assert call("diagnose --policy clone tuned --episodes 2 --out diagnosis")[0] == 0
    assert_refused(call("run_hw1 --resume tuned"), "finetune")
    assert_refused(call("finetune --resume clone"), "run_hw1")
    assert call("finetune --resume tuned")[0] == 0


def test_mistakes_are_one_line(call, clone):
    assert_refused(call("finetune"), "--policy")
    assert_refused(call("finetune --policy nowhere"), "nowhere")
    assert_refused(call(f"finetune --policy {clone}"), "--env_name")
    assert_refused(call(f"finetune --policy {clone} --env_name Acrobot-v1"), "Acrobot-v1")
    task = f"--policy {clone} --env_name CartPole-v1"
    assert_refused(call(f"finetune {task} --expert_data demos.npz"), "--expert_data")
    assert_refused(call(f"export {task} --to clone.zip --demos demos.npz"), "--demos")
    assert_refused(call(f"finetune --policy {clone} --from_nothing --kl_to_clone 1"), "--kl_to_clone")


def test_a_policy_that_ppo_has_trained_keeps_its_exploration(tmp_path, clone):
    from rl_il.finetuning.experiment import of_its_run

    run_in(tmp_path / "run", SMALL, policy=str(clone))
    again = FinetuneConfig(policy=str(tmp_path / "run"))
    assert of_its_run(again, []).softening == 1
    assert of_its_run(replace(again, temperature=2.0), ["temperature"]).softening == 2
    assert of_its_run(replace(again, policy=str(clone)), ["env_name"]).softening == TEMPERATURE


def test_a_temperature_of_continuous_actions_is_refused(tmp_path):
    clone_of("Pendulum-v1").save(tmp_path / "clone.pt")
    with pytest.raises(InputError, match="--temperature"):
        run_in(tmp_path / "run", SMALL, policy=str(tmp_path / "clone.pt"), env_name="Pendulum-v1", temperature=2.0)


def test_the_memory_of_this_machine_limits_the_steps_of_an_update(tmp_path, monkeypatch, clone):
    monkeypatch.setattr("rl_il.finetuning.experiment.memory_here", lambda: 1000)
    with pytest.raises(InputError, match="--n_steps"):
        run_in(tmp_path / "run", SMALL, policy=str(clone))
