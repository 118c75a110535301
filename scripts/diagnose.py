"""Where drift comes from: policies compared with their expert by time step, on their own states and on the expert's,
and how far the states they visit lie from their training set."""

import argparse
from pathlib import Path

from rl_il.config import ACTIVATIONS, add_workers_argument
from rl_il.errors import run_command
from rl_il.files import REPOSITORY
from rl_il.options import HelpFormatter, positive_integer

EXAMPLES = """examples:
  behavioural cloning and DAgger, from one DAgger run (its iteration 0 is behavioural cloning):
    python scripts/diagnose.py --policy data/q2_dagger_.../policy_itr_0.pt data/q2_dagger_... --names BC DAgger
  two runs, on 200 episodes each:
    python scripts/diagnose.py --policy data/q1_bc_... data/q2_dagger_... --episodes 200 --num_workers auto
  any policy file, with an expert and demonstrations of one's own:
    python scripts/diagnose.py --policy ppo.zip --env_name LunarLander-v3 --expert expert.npz --demos my_demos.npz

It writes drift.png and drift.svg (disagreement and distance by time step), losses.md (the table it prints) and
divergence.png (frames around the first divergence of the first policy's median episode).
"""


def main() -> None:
    """Parse the flags, measure, print the table and the files."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=HelpFormatter)
    add = parser.add_argument
    add(
        "--policy",
        nargs="+",
        required=True,
        metavar="RUN_OR_FILE",
        help="run folders (their latest policy), checkpoints in one such as RUN/policy_itr_0.pt, or what evaluate.py"
        " takes; of the first one the frames are drawn",
    )
    add("--names", nargs="+", metavar="NAME", help="what to call them (default: BC; DAgger, iteration N; file names)")
    add("--expert", metavar="FILE", help="whose actions are right (default: the run's, or the one shipped)")
    add(
        "--expert_activation", choices=ACTIVATIONS, help="the expert's nonlinearity, if its .zip names an unknown one"
    )
    add("--env_name", "-env", help="environment (default: the run's)")
    add("--demos", metavar="FILE", help="the demonstrations (default: the run's, or the shipped ones)")
    add("--episodes", type=positive_integer, default=50, help="whole episodes a policy (default: %(default)s)")
    add("--seed", type=int, default=0, help="root of the episodes' seeds (default: %(default)s)")
    add("--ep_len", type=positive_integer, help="longest episode in steps (default: the run's or the environment's)")
    add_workers_argument(parser)
    add(
        "--out",
        type=Path,
        default=REPOSITORY / "data" / "diagnosis",
        help="the folder to make; numbered if it is taken (default: data/diagnosis)",
    )
    args = parser.parse_args()

    from rl_il.studies.diagnosis.diagnose import diagnose

    diagnosis = diagnose(
        args.policy,
        names=args.names,
        expert=args.expert,
        env_name=args.env_name,
        episodes=args.episodes,
        seed=args.seed,
        ep_len=args.ep_len,
        num_workers=args.num_workers,
        demos=args.demos,
        activation=args.expert_activation,
        out=args.out,
    )
    print(diagnosis.table, "", *diagnosis.files, sep="\n")


if __name__ == "__main__":
    run_command(main)
