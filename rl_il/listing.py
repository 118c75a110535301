"""`rl-il list`: tables of the included parts of each kind, and how to use your own."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from rl_il.commands import for_user
from rl_il.envs import EnvRow
from rl_il.options import CommandParser
from rl_il.plugins import ACTIVATIONS, AUGMENTATIONS, HEADS, LOSSES, POLICIES, RULES

Rows = list[Sequence[str]]


class Kind(NamedTuple):
    """A kind of parts that a user can choose."""

    what: str
    rows: Callable[[], Rows]  # the table; the first row is its header
    own: str  # how to use one's own


def main() -> None:
    """Parse the flags, and print the table of one kind, or the kinds."""
    parser = CommandParser(
        "List the included parts of a kind, and how to use your own. Without a kind, list the kinds."
    )
    parser.add_argument("kind", nargs="?", choices=KINDS, help="what to list")
    name = parser.parse_args().kind
    if name is None:
        print(aligned([["kind", "what"], *([name, kind.what] for name, kind in KINDS.items())]))
        return
    kind = KINDS[name]
    print(aligned(kind.rows()))
    print(for_user(f"\nyour own: {kind.own}"))


def aligned(rows: Iterable[Sequence[str]]) -> str:
    """Return the rows as columns of text, each on the left."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def about(place: str) -> str:
    """Return the first sentence of the docstring of `module:Name`. The source is read, not imported.

    So nothing slow is imported, and no optional dependency is needed.
    """
    module, _, name = place.partition(":")
    source = Path(importlib.util.find_spec(module).origin).read_text(encoding="utf-8")
    found = next(node for node in ast.parse(source).body if getattr(node, "name", None) == name)
    return first_sentence(ast.get_docstring(found))


def first_sentence(text: str | None) -> str:
    """Return the first sentence of a docstring, on one line and without its full stop."""
    paragraph = " ".join((text or "").partition("\n\n")[0].split())
    return paragraph.partition(". ")[0].removesuffix(".")


def envs() -> Rows:
    """Return the environments of the package, with the expert and the demonstrations of each."""
    from rl_il.envs import ENVS

    rows = [[name, row.expert or "", demonstrations(row)] for name, row in ENVS.items()]
    return [["name", "expert", "demonstrations"], *rows]


def demonstrations(row: EnvRow) -> str:
    """Return the number of episodes and steps in the included file, and their mean return, or that there is none."""
    import numpy as np

    if row.demos_path is None:
        return "none; record_demos.py makes some" if row.expert else "none; give --expert_data"
    with np.load(row.demos_path, allow_pickle=False) as arrays:
        rewards, episodes = arrays["rewards"], int(arrays["episode_starts"].sum())
    return f"{episodes} episodes, {len(rewards):,} steps, mean return {rewards.sum() / episodes:,.1f}"


def plugins(table: dict[str, str]) -> Callable[[], Rows]:
    """Return a function that returns the rows of a table of `plugins`."""
    return lambda: [["name", "what it is"], *([name, about(place)] for name, place in table.items())]


def activations() -> Rows:
    """Return the activation functions, as torch names them."""
    return [["name", "in torch"], *([name, place.replace(":", ".")] for name, (place, _) in ACTIVATIONS.items())]


def formats() -> Rows:
    """Return the file formats of demonstrations and of experts, and the reader of each."""
    from rl_il.datasets.formats import FORMATS as OF_DEMONSTRATIONS
    from rl_il.experts.loading import FORMATS as OF_EXPERTS

    rows = [["of", "format", "needs", "reader", "what it returns"]]
    for each in OF_DEMONSTRATIONS:
        needs = f"rl_il[{each.extra}]" if each.extra else ""
        rows.append(["demonstrations", each.name, needs, each.reader, about(each.reader)])
    for suffix, each in OF_EXPERTS.items():
        place = f"{each.load.__module__}:{each.load.__name__}"
        rows.append(["expert", suffix, "", place, about(place)])
    return rows


def experts() -> Rows:
    """Return the experts that are named: the scripted ones, those in files, and the random policy."""
    from rl_il.envs import ENVS
    from rl_il.experts.loading import SCRIPTED_EXPERTS

    rows = [["name", "environment", "what it is"]]
    for name, (env_names, make) in SCRIPTED_EXPERTS.items():
        what = first_sentence((make.args[0] if hasattr(make, "args") else make).__doc__)
        rows.append([name, ", ".join(env_names), what])
    files = {spec.expert: [] for spec in ENVS.values() if str(spec.expert).endswith(".npz")}
    for name, spec in ENVS.items():
        files.get(spec.expert, []).append(name)
    rows += [["expert", ", ".join(names), f"the network in {file}"] for file, names in files.items()]
    rows.append(["random", "any", about("rl_il.policies.actors:RandomActor")])
    return rows


KINDS = {
    "envs": Kind(
        "environments in the table, with the expert and the demonstrations that come with them",
        envs,
        "--env_name takes any environment of Gymnasium, and yours as my_module:MyEnv-v0, which my_module registers",
    ),
    "experts": Kind(
        "experts and policies that have a name",
        experts,
        "--expert_policy_file (run_hw1.py) and --policy (evaluate.py) take a run folder, latest, a file of a format"
        " that `list formats` shows, hf:ORG/REPO/FILE, and your class or function my_module:MyExpert",
    ),
    "formats": Kind(
        "file formats of demonstrations and of experts",
        formats,
        "--expert_data my_module:load takes your function that returns the demonstrations",
    ),
    "rules": Kind("collection rules: variants of DAgger", plugins(RULES), "--rule my_module:MyRule"),
    "policies": Kind(
        "policies, whose encoder is the network", plugins(POLICIES), "--policy_class my_module:MyPolicy"
    ),
    "heads": Kind("heads, which compute actions from features", plugins(HEADS), "--head my_module:MyHead"),
    "losses": Kind("losses; each head supports some of them", plugins(LOSSES), "--loss my_module:my_loss"),
    "activations": Kind("activation functions", activations, "--activation my_module:MyActivation, a torch module"),
    "augmentations": Kind("random changes of observations", plugins(AUGMENTATIONS), "--augment my_module:my_change"),
}
"""The kinds that `rl-il list` knows."""
