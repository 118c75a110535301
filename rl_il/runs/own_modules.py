"""The source files of the user's own modules: those in the working folder and beside what the user named."""

from __future__ import annotations

import ast
import functools
import os
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from importlib.machinery import PathFinder
from importlib.util import resolve_name
from pathlib import Path

from rl_il.errors import is_own_file


def own_modules(named: Collection[str] = ()) -> dict[str, Path]:
    """Return the file of each own module that is imported, or that an import statement in one of these names.

    Own modules are those in the working folder, in the folder of the program, in `$PYTHONPATH`, and in the folders of
    the modules `named`. What pip installed is not, and neither is what an editor adds to a program.

    So a module that is imported later is there too, such as one that only the `step` of an environment imports, also
    in a worker process. A name that is computed (`importlib.import_module(name)`) is found only if it is imported
    already.
    """
    specs = {name: getattr(module, "__spec__", None) for name, module in list(sys.modules.items())}
    places = {
        name: Path(spec.origin).absolute()
        for name, spec in specs.items()  # `__main__` has none of its name, and what torch compiles has none
        if spec and spec.name == name and spec.has_location and is_own_file(spec.origin)
    }
    folders = {
        Path.cwd(),
        *map(Path, filter(None, [sys.path[0], *os.environ.get("PYTHONPATH", "").split(os.pathsep)])),
    }
    folders |= {folder_of(name, places[name]) for name in {*named} & places.keys()}
    found = {name: path for name, path in places.items() if folders & {*path.parents}}
    waiting = [*found]
    while waiting:
        name = waiting.pop()
        for other in _imported_in(name, found[name]):
            here = {other: places[other]} if other in places else {} if other in specs else dict(_search(other))
            new = {part: path for part, path in here.items() if part not in found}
            found |= new
            waiting += new
    return dict(sorted(found.items()))


def folder_of(name: str, path: Path) -> Path:
    """Return the folder from which the module `name` in the file `path` is imported."""
    return path.parents[name.count(".") + (path.stem == "__init__")]


def _imported_in(name: str, path: Path) -> set[str]:
    """Return the full names that the import statements of a module may mean: of modules, or of what is in them."""
    if path.suffix != ".py":
        return set()
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    names = set()
    for module, attribute in _import_statements(path.read_bytes()):
        with suppress(ImportError):  # a relative import that leads out of all packages
            module = resolve_name(module, package)
            names |= {module, f"{module}.{attribute}" if attribute else module}
    return names


@functools.lru_cache(maxsize=1000)
def _import_statements(source: bytes) -> frozenset[tuple[str, str]]:
    """Return the modules, with a dot for each level of a relative import, and what is imported from them."""
    found = set()
    try:
        nodes = [*ast.walk(ast.parse(source))]
    except (SyntaxError, ValueError):  # a file that Python does not import either
        nodes = []
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {("." * node.level + (node.module or ""), alias.name) for alias in node.names}
    return frozenset(found)


def _search(name: str) -> Iterator[tuple[str, Path]]:
    """Yield the name and the file of each own package in the name of a module, and its own. Import nothing."""
    folders, parts = None, name.split(".")
    for count in range(1, len(parts) + 1):
        part = ".".join(parts[:count])
        try:
            spec = getattr(sys.modules.get(part), "__spec__", None) or PathFinder.find_spec(part, folders)
        except KeyError:  # a folder without __init__.py, in a package that is not imported
            folders = [str(Path(folder, parts[count - 1])) for folder in folders]
            continue
        if spec is None or (spec.has_location and not is_own_file(spec.origin)):
            return
        if spec.has_location:
            yield part, Path(spec.origin).absolute()
        folders = spec.submodule_search_locations
        if folders is None:
            return
