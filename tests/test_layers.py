"""Holds the layers of the design: a file imports from layers below its own, or from rooms listed before it."""

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

# Within a layer a room may import from the rooms before it. A folder is one room.
LAYERS = [
    "errors types statistics options config files",
    "keys envs datasets",
    "infrastructure",
    "policies",
    "dagger",
    "run_folder run_parts experiment evaluation report teacher ablation diagnosis doctor demo results pixels",
]
RANKS = {room: rank for rank, room in enumerate(" ".join(LAYERS).split())}


def modules_of(package: Path) -> dict[str, Path]:
    """Dotted name of every file, without the package's own name: `policies.actors`; "" is the package itself."""
    files = {path.relative_to(package).with_suffix(""): path for path in sorted(package.rglob("*.py"))}
    return {".".join(p for p in name.parts if p != "__init__"): path for name, path in files.items()}


def imports_of(path: Path, name: str, modules: dict[str, Path]) -> set[str]:
    """The modules of the package that the file imports anywhere, except for type checkers only."""
    here = ["rl_il", *filter(None, name.split("."))]
    if path.name != "__init__.py":
        here = here[:-1]
    found = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                visit(child)
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            base = ".".join(here[: len(here) - node.level + 1]) if node.level else ""
            base = ".".join(filter(None, (base, node.module)))
            for alias in node.names:
                full = f"{base}.{alias.name}"
                found.add(full if full.removeprefix("rl_il.") in modules else base)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return {full.partition(".")[2] for full in found if full.split(".")[0] == "rl_il"}


def room_of(module: str) -> str:
    return module.split(".")[0]


def faults(package: Path) -> list[str]:
    """One line for each import that the layers forbid, each file without a layer, and each cycle in a room."""
    modules = modules_of(package)
    graph = {name: imports_of(path, name, modules) for name, path in modules.items()}
    lines = [f"{name} has no layer" for name in graph if name and room_of(name) not in RANKS]
    for name, targets in graph.items():
        own = RANKS.get(room_of(name), -1)
        lines += [
            f"{name or 'rl_il'} imports {target or 'rl_il'}"
            for target in sorted(targets)
            if room_of(target) != room_of(name) and RANKS.get(room_of(target), len(RANKS)) >= own
        ]
    same_room = {name: {t for t in targets if room_of(t) == room_of(name)} for name, targets in graph.items()}
    try:
        TopologicalSorter(same_room).prepare()
    except CycleError as error:
        lines.append("cycle: " + " -> ".join(error.args[1]))
    return lines


def test_no_file_imports_upward_and_every_file_has_a_layer():
    assert faults(PACKAGE) == []


def test_every_layer_names_rooms_that_exist():
    rooms = {room_of(name) for name in modules_of(PACKAGE)} - {""}
    assert rooms == set(RANKS)


@pytest.mark.parametrize(
    ("file", "line", "fault"),
    [
        ("types.py", "from rl_il.envs import make_env", "types imports envs"),
        ("errors.py", "import rl_il.files", "errors imports files"),
        ("envs.py", "from rl_il import datasets", "envs imports datasets"),
        ("datasets/npz.py", "from ..policies import actors", "datasets.npz imports policies.actors"),
        ("infrastructure/video.py", "def f():\n    import rl_il.dagger", "infrastructure.video imports dagger"),
        ("policies/__init__.py", "from ..experiment import run", "policies imports experiment"),
        ("policies/actors.py", "from .experts import SCRIPTED_EXPERTS", "cycle: "),
        ("__init__.py", "from rl_il.config import RunConfig", "rl_il imports config"),
        ("dagger.py", "from rl_il.unheard_of import x", "dagger imports unheard_of"),
        ("new_room.py", "import rl_il.types", "new_room has no layer"),
    ],
)
def test_a_planted_fault_is_found(tmp_path, file, line, fault):
    copy = shutil.copytree(PACKAGE, tmp_path / "rl_il", ignore=shutil.ignore_patterns("__pycache__"))
    path = copy / file
    path.write_text((path.read_text() if path.exists() else "") + f"\n\n{line}\n")
    assert any(found.startswith(fault) for found in faults(copy))


def test_an_import_for_type_checkers_only_is_free(tmp_path):
    copy = shutil.copytree(PACKAGE, tmp_path / "rl_il", ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / "types.py").open("a") as file:
        file.write("\n\nfrom typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from rl_il.demo import run_demo\n")
    assert faults(copy) == []


# The others are one file from imports to result.
FRONTS = [path for path in SCRIPTS if path.stem not in ("train_expert", "benchmark", "chaos", "fuzz", "soak")]


@pytest.mark.parametrize("path", FRONTS, ids=lambda path: path.name)
def test_scripts_import_the_package_and_the_standard_library_only(path):
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    roots = {name.split(".")[0] for name in names}
    assert roots - sys.stdlib_module_names == {"rl_il"}


def modules_after(code: str) -> set[str]:
    """The roots of everything that a fresh interpreter has imported once it ran `code`."""
    code = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint('\\n', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("rl_il.config", {"torch", "gymnasium", "numpy", "matplotlib"}),
        ("rl_il.policies.experts", {"torch", "matplotlib"}),
        ("rl_il.infrastructure.workers", {"torch", "matplotlib"}),
        ("rl_il.experiment", {"torch", "matplotlib", "tensorboardX"}),
    ],
)
def test_importing_a_module_does_not_import_what_it_can_do_without(module, unwanted):
    assert not modules_after(f"import {module}") & unwanted


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_help_imports_nothing_slow(path):
    code = f"import runpy; sys.argv = ['x', '--help']; runpy.run_path({str(path)!r}, run_name='__main__')"
    loaded = modules_after(code)
    assert "rl_il" in loaded
    assert not loaded & {"torch", "gymnasium", "matplotlib", "tensorboardX"}
