"""Checkpoints that somebody changed, with checksums that are right again."""

import hashlib
import json

import torch

from rl_il.infrastructure.checkpoint import INDEX


def state_file(folder):
    """The one state in the run folder's checkpoint."""
    (path,) = (folder / "checkpoint").glob("state_*.pt")
    return path


def change(folder, update):
    """Rewrites the state with some of its parts, or parts of parts, changed, and its checksum."""
    path = state_file(folder)
    state = torch.load(path, weights_only=True)
    update(state)
    torch.save(state, path)
    seal(folder)


def seal(folder):
    """Gives the index the checksums that the files have now."""
    index = folder / "checkpoint" / INDEX
    content = json.loads(index.read_text())
    for name in content["files"]:
        content["files"][name] = hashlib.sha256((index.parent / name).read_bytes()).hexdigest()
    index.write_text(json.dumps(content))


def as_text(log):
    """A state's log."""
    return torch.tensor(list(json.dumps(log).encode()), dtype=torch.uint8)


def moments(state, which="first"):
    """One list of Adam's moments in a state."""
    return state["optimizer"][f"{which}_moments"]


def table_of(columns):
    """Rows that share no name but `iteration`."""
    return [{"iteration": i, f"{i}": i} for i in range(columns)]
