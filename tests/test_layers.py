"""The order of the rooms: a file imports only from its own room and from rooms before it, and never in a circle."""

import ast
import shutil
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "rl_il"
SCRIPTS = sorted((REPOSITORY / "scripts").glob("[!_]*.py"))

ROOMS = [
    # the shared modules are one room
    "errors types limits commands options statistics seeding plugins files settings config checks notes flags"
    " finetune_config",
    "envs",
    "datasets",
    "infrastructure.pytorch_utils",  # its place has the course's name, but policies import it
    "policies",
    "experts",
    "infrastructure",
    "runs",
    "finetuning",
    "report",
    "studies",
    "teacher",
    "listing __main__",  # the command `rl-il`
]


def modules_of(package: Path) -> dict[str, Path]:
    """Return the files by their dotted names without the package's, such as `policies.actors`."""
    files = {path.relative_to(package).with_suffix(""): path for path in sorted(package.rglob("*.py"))}
    return {".".join(part for part in name.parts if part != "__init__"): path for name, path in files.items()}


def imports_of(path: Path, name: str, modules: dict[str, Path]) -> set[str]:
    """Return the modules of the package that the file imports, in functions and for type checkers too."""
    here = ["rl_il", *filter(None, name.split("."))]
    here = here if path.name == "__init__.py" else here[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            base = ".".join(here[: len(here) - node.level + 1]) if node.level else ""
            base = ".".join(filter(None, (base, node.module)))
            for alias in node.names:
                full = f"{base}.{alias.name}"
                found.add(full if full.removeprefix("rl_il.") in modules else base)
    return {full.partition(".")[2] for full in found if full.split(".")[0] == "rl_il"} - {name}


def rank(module: str) -> int | None:
    """Return the position of the module's room in the order, or None if it has no room."""
    ranks = {room: place for place, rooms in enumerate(ROOMS) for room in rooms.split()}
    return ranks.get(module, ranks.get(module.split(".")[0]))


def faults(package: Path) -> list[str]:
    """Return a line for each import from a later room, for each file without a room, and for a circle."""
    modules = modules_of(package)
    graph = {name: imports_of(path, name, modules) for name, path in modules.items()}
    lines = [f"{name} has no room" for name in graph if name and rank(name) is None]
    for name, targets in graph.items():
        own = -1 if rank(name) is None else rank(name)
        lines += [f"{name or 'rl_il'} imports {t or 'rl_il'}" for t in sorted(targets) if (rank(t) or 0) > own]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        lines.append("circle: " + " -> ".join(error.args[1]))
    return lines


def test_no_import_is_from_a_later_room_or_in_a_circle():
    assert faults(PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "line", "fault"),
    [
        ("types.py", "from rl_il.envs import make_env", "types imports envs"),
        ("errors.py", "import rl_il.files", "circle: "),
        ("datasets/npz.py", "from ..policies import actors", "datasets.npz imports policies.actors"),
        ("envs/keys.py", "if TYPE_CHECKING:\n    import rl_il.runs.parts", "envs.keys imports runs.parts"),
        ("policies/actors.py", "from .mlp_policy import MLPPolicySL", "circle: "),
        ("__init__.py", "from rl_il.envs import make_env", "rl_il imports envs"),
        ("new_room.py", "import rl_il.types", "new_room has no room"),
    ],
)
def test_a_fault_is_found(tmp_path, file, line, fault):
    copy = shutil.copytree(PACKAGE, tmp_path / "rl_il", ignore=shutil.ignore_patterns("__pycache__"))
    path = copy / file
    path.write_text((path.read_text() if path.exists() else "") + f"\n\n{line}\n")
    assert any(found.startswith(fault) for found in faults(copy)), faults(copy)


# The other scripts contain all their code, and import what they need.
FRONTS = [path for path in SCRIPTS if path.stem not in ("train_expert", "benchmark", "chaos", "soak")]


@pytest.mark.parametrize("path", FRONTS, ids=lambda path: path.name)
def test_scripts_import_only_the_package(path):
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} - sys.stdlib_module_names == {"rl_il"}


def modules_after(code: str) -> set[str]:
    """Return the top-level modules that a new interpreter has imported after it ran `code`."""
    code = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint('\\n', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("rl_il.config", {"torch", "gymnasium", "numpy", "matplotlib"}),
        ("rl_il.experts.loading", {"torch", "matplotlib"}),
        ("rl_il.infrastructure.workers", {"torch", "matplotlib"}),
        ("rl_il.runs.experiment", {"torch", "matplotlib", "tensorboardX"}),
    ],
)
def test_a_module_imports_nothing_slow_that_it_does_not_need(module, unwanted):
    assert not modules_after(f"import {module}") & unwanted


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_help_imports_nothing_slow(path):
    code = f"import runpy; sys.path.insert(0, {str(path.parent)!r}); sys.argv = ['x', '--help']"
    code += f"; runpy.run_path({str(path)!r}, run_name='__main__')"
    loaded = modules_after(code)
    assert "rl_il" in loaded
    assert not loaded & {"torch", "gymnasium", "matplotlib", "tensorboardX"}
