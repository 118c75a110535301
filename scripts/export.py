"""Write a clone as a zip of Stable-Baselines3, from which PPO.load(...).learn(...) goes on with the clone."""

from rl_il.config import ENV, RunConfig
from rl_il.errors import run_command
from rl_il.flags import add_env_flags
from rl_il.options import CommandParser, named_path, path

EXAMPLES = """examples:
  the last policy of the newest run, for PPO (needs pip install -e ".[sb3]"):
    python scripts/export.py --policy latest --to clone.zip
  for DQN, whose values of actions are the policy's logits:
    python scripts/export.py --policy data/q1_.../policy_itr_0.pt --to clone.zip --algorithm dqn
"""


def main() -> None:
    """Parse the flags, write the zip, and print what is in it."""
    parser = CommandParser(__doc__, EXAMPLES)
    add = parser.add_argument
    help = "a run folder (its last policy), latest (the newest run folder), or a file of a policy (.pt)"
    add("--policy", type=named_path, required=True, metavar="RUN", help=help)
    add("--to", type=path, required=True, metavar="ZIP", help="the file to write, such as clone.zip")
    help = "the algorithm that goes on: ppo, a2c (any actions), or dqn (one integer)"
    add("--algorithm", default="ppo", metavar="NAME", help=f"{help} (default: %(default)s)")
    help = "demonstrations from which the standard deviation of drawn actions follows, if the policy was trained with"
    add("--demos", type=named_path, metavar="FILE", help=f"{help} --loss mse or l1 (default: those of its run)")
    add_env_flags(parser, otherwise="that of the policy's run")
    args = parser.parse_args()
    task = RunConfig(**{name: getattr(args, name) for name in ENV}) if args.env_name else None

    from rl_il.finetuning.export import export

    print(*export(args.policy, args.to, args.algorithm, args.demos, task), sep="\n")


if __name__ == "__main__":
    run_command(main)
