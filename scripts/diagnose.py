"""Show where a policy's drift comes from. At each time step, policy and expert are compared on the policy's states
and on the expert's states. The distance of these states from the policy's training states is measured too."""

from rl_il.config import ENV, READING
from rl_il.errors import run_command
from rl_il.flags import EXPERT, add_env_flags, add_fields
from rl_il.options import CommandParser, named_path, path, positive_integer

EXAMPLES = """examples:
  behavioural cloning and DAgger, both from one DAgger run (iteration 0 is behavioural cloning):
    python scripts/diagnose.py --policy data/q2_dagger_.../policy_itr_0.pt data/q2_dagger_... --names BC DAgger
  two runs, on 200 episodes each:
    python scripts/diagnose.py --policy data/q1_bc_... data/q2_dagger_... --episodes 200 --num_workers auto
  any policy file, with your own expert and demonstrations:
    python scripts/diagnose.py --policy ppo.zip --env_name LunarLander-v3 --expert expert.npz --demos my_demos.npz

It writes drift.png and drift.svg (disagreement and distance by time step), losses.md (the table that it prints) and
divergence.png (frames around the first divergence, in the episode of the first policy with the median return).
"""


def main() -> None:
    """Parse the flags, measure, and print the table and the names of the files."""
    parser = CommandParser(__doc__, EXAMPLES)
    add = parser.add_argument
    add(
        "--policy",
        nargs="+",
        type=named_path,
        required=True,
        metavar="RUN_OR_FILE",
        help="run folders (their latest policy), files such as RUN/policy_itr_0.pt, or anything that"
        " evaluate.py accepts; divergence.png shows the first policy",
    )
    add(
        "--names",
        nargs="+",
        metavar="NAME",
        help="the policies' names (default: BC, or \"DAgger, iteration N\", or the file's name)",
    )
    add(
        "--expert",
        type=named_path,
        metavar="FILE",
        help="the expert, as for --policy (default: the run's, or else the included one)",
    )
    add_fields(parser, *EXPERT)
    add_env_flags(parser, otherwise="the run's")
    add(
        "--demos",
        type=named_path,
        metavar="FILE",
        help="the demonstrations (default: the run's, or else the included ones)",
    )
    add("--episodes", type=positive_integer, default=50, help="whole episodes of each policy (default: %(default)s)")
    add("--seed", type=int, default=0, help="root of the episodes' seeds (default: %(default)s)")
    add(
        "--ep_len",
        type=positive_integer,
        help="maximum length of an episode, in steps (default: as in the run)",
    )
    add_fields(parser, "num_workers")
    add(
        "--out",
        type=path,
        help="the new folder; numbered if it exists (default: diagnosis in ./data or $RL_IL_DATA)",
    )
    add_fields(parser, *READING)
    args = parser.parse_args()
    reading = {name: getattr(args, name) for name in READING}
    if any(reading.values()) and not args.demos:
        parser.error(
            f"--{' and --'.join(name for name in READING if reading[name])}: needs --demos, whose file it describes"
        )

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
        no_normalizer=args.no_normalizer,
        out=args.out,
        settings=reading | {name: getattr(args, name) for name in ENV[1:]},
    )
    print(diagnosis.table, "", *diagnosis.files, sep="\n")


if __name__ == "__main__":
    run_command(main)
