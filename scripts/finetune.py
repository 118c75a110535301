"""Improve a clone by reinforcement learning: PPO that begins with the clone, with protection of the clone."""

from rl_il.errors import InputError, go_on_without_output, run_command
from rl_il.finetune_config import FinetuneConfig
from rl_il.options import CommandParser, add_arguments, from_arguments, path

RESUMING = ("resume", "accept_changes", "num_workers", "torch_threads")

EXAMPLES = """examples:
  clone one demonstration of LunarLander, then PPO (needs pip install -e ".[sb3]"):
    python scripts/run_hw1.py --env_name LunarLander-v3 --n_demos 1 --normalize_obs --logdir data/clone
    python scripts/finetune.py --policy data/clone --total_timesteps 200000
  the same without protection of the clone, and from nothing:
    python scripts/finetune.py --policy data/clone --critic_warmup 0 --kl_to_clone 0 --learning_rate 3e-4
    python scripts/finetune.py --policy data/clone --from_nothing --learning_rate 3e-4
  continue a run that was stopped:
    python scripts/finetune.py --resume latest
"""


def main() -> None:
    """Parse the flags, and start or resume the run."""
    parser = CommandParser(__doc__, EXAMPLES)
    help = "continue the run in this folder (latest: the newest) with its own settings; allowed beside it are"
    help += " --num_workers, --torch_threads and --accept_changes"
    parser.add_argument("--resume", type=path, metavar="RUN_FOLDER", help=help)
    help = "with --resume: continue although settings in config.json or files that the run reads were changed"
    parser.add_argument("--accept_changes", action="store_true", help=help)
    add_arguments(parser, FinetuneConfig)
    parser.set_default("--env_name", FinetuneConfig.env_name, "that of the policy's run")
    args = parser.parse_args()
    given = parser.given(args)
    if args.resume and (others := [f"--{name}" for name in given if name not in RESUMING]):
        raise InputError(f"--resume continues a run with its own settings; drop {', '.join(others)}")
    if args.accept_changes and not args.resume:
        raise InputError("--accept_changes has no effect without --resume; add it, or drop --accept_changes")
    config = from_arguments(FinetuneConfig, args)

    from rl_il.finetuning.experiment import FINETUNING, of_its_run
    from rl_il.runs.experiment import resume, run
    from rl_il.runs.provenance import command_line

    go_on_without_output()
    if args.resume:
        threads = args.torch_threads if "torch_threads" in given else None
        how = {"torch_threads": threads, "accept_changes": args.accept_changes}
        resume(args.resume, args.num_workers, **how, kind=FINETUNING)
    else:
        run(of_its_run(config, given), command_line(), kind=FINETUNING)


if __name__ == "__main__":
    run_command(main)
