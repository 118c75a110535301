"""Checkpoints to go on from, of runs and of lessons: their files, and hostile ones with the right checksums."""

from __future__ import annotations

import copy
import functools
import hashlib
import io
import json
from pathlib import Path
from typing import Any

from _fuzz_mutations import mutate_case
from _fuzz_text import NUMBERS, VALUES, Rng, mutate_json, places
from _fuzzing import Case

from rl_il.infrastructure.checkpoint import INDEX


def case_of(folder: Path, kind: str) -> Case:
    """The files of the checkpoint that lies in the folder itself; the index says which kind of run it is."""
    files = [folder / INDEX, *folder.glob("state_*.pt"), *folder.glob("data_*.npz")]
    case = {path.name: path.read_bytes() for path in files}
    return case | {INDEX: json.dumps(json.loads(case[INDEX]) | {"kind": kind}).encode()}


def kind_in(folder: Path) -> str:
    """What `case_of` was told; discrete where nothing says."""
    index = folder / INDEX
    return "continuous" if index.exists() and b'"continuous"' in index.read_bytes() else "discrete"


def mutate_checkpoint(rng: Rng, case: Case, other: Case) -> Case:
    """Mostly with checksums that are right again, since whoever is hostile mends them."""
    mutated = mutate_state(rng, case) if rng.random() < 0.5 else mutate_case(rng, case, other)
    return seal(mutated) if rng.random() < 0.95 else mutated


@functools.lru_cache(maxsize=64)
def _read_state(data: bytes) -> Any:
    import torch

    return torch.load(io.BytesIO(data), weights_only=True)


@functools.cache
def _tensors() -> list[Any]:
    """Tensors that no part of a state may be."""
    import torch

    ones = torch.ones(3, 2)
    dtypes = (torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.complex64)
    tensors = [ones.to(dtype) for dtype in dtypes] + [ones.T, ones[:0], ones.sum(), -ones.sum()]
    tensors += [torch.full((3, 2), value) for value in (float("nan"), float("inf"), -1.0, 1e38)]
    return [
        *tensors,
        torch.ones(1).expand(100_000, 100_000),
        torch.zeros([1] * 40),
        torch.zeros(100_000, dtype=torch.uint8),
    ]


def mutate_state(rng: Rng, case: Case) -> Case:
    """Parts of the state replaced, renamed, taken out or exchanged, and saved as the project saves it."""
    import torch

    name = next(name for name in sorted(case) if name.startswith("state_"))
    state = copy.deepcopy(_read_state(case[name]))
    if rng.random() < 0.2:
        log = mutate_json(rng, bytes(state["log"].tolist()), b"{}")
        state["log"] = torch.frombuffer(bytearray(log or b" "), dtype=torch.uint8)
    else:
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            _change(rng, state)
    content = io.BytesIO()
    torch.save(state, content)
    return case | {name: content.getvalue()}


def _change(rng: Rng, state: dict[str, Any]) -> None:
    """One part, anywhere."""
    found = list(places(state))
    owner, key = rng.choice(found)
    if rng.random() < 0.1:
        del owner[key]
    elif isinstance(owner, dict) and rng.random() < 0.05:
        owner[rng.choice((f"{key}x", "", 0, None, "itr"))] = owner.pop(key)
    else:
        other, other_key = rng.choice(found)
        choices = (rng.choice(VALUES), rng.choice(NUMBERS), rng.choice(_tensors()), other[other_key])
        owner[key] = copy.deepcopy(rng.choice(choices))


def seal(case: Case) -> Case:
    """The case with the checksums that its files have now."""
    try:
        index = json.loads(case[INDEX])
        sums = {name: hashlib.sha256(case[name]).hexdigest() for name in index["files"] if name in case}
        return case | {INDEX: json.dumps(index | {"files": index["files"] | sums}).encode()}
    except (LookupError, ValueError, TypeError, RecursionError):
        return case
