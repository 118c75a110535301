"""Improve a clone by reinforcement learning: PPO that begins with the clone, with protection of the clone."""

from rl_il.errors import go_on_without_output, run_command
from rl_il.finetune_config import FinetuneConfig
from rl_il.flags import add_resume_flags, resume_settings
from rl_il.options import CommandParser, add_arguments, from_arguments

EXAMPLES = """examples:
  clone one demonstration of LunarLander, then PPO (needs pip install -e ".[sb3]"):
    python scripts/run_hw1.py --env_name LunarLander-v3 --n_demos 1 --normalize_obs --logdir data/clone
    python scripts/finetune.py --policy data/clone --total_timesteps 200000
  the same without protection of the clone, and from nothing:
    python scripts/finetune.py --policy data/clone --critic_warmup 0 --kl_to_clone 0 --temperature 1
    python scripts/finetune.py --policy data/clone --from_nothing
  continue a run that was stopped:
    python scripts/finetune.py --resume latest
"""


def main() -> None:
    """Parse the flags, and start or resume the run."""
    parser = CommandParser(__doc__, EXAMPLES)
    add_resume_flags(parser)
    add_arguments(parser, FinetuneConfig)
    parser.set_default("--env_name", FinetuneConfig.env_name, "that of the policy's run")
    args = parser.parse_args()
    given = parser.given(args)
    how = resume_settings(args, given)
    config = from_arguments(FinetuneConfig, args)

    from rl_il.finetuning.experiment import FINETUNING, of_its_run
    from rl_il.runs.experiment import resume, run
    from rl_il.runs.provenance import command_line

    go_on_without_output()
    if args.resume:
        resume(args.resume, **how, kind=FINETUNING)
    else:
        run(of_its_run(config, given), command_line(), kind=FINETUNING)


if __name__ == "__main__":
    run_command(main)
