"""A file changed by what it is: each format by its own mutations."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import _fuzz_seeds
from _fuzz_archives import mutate_npy, mutate_zip
from _fuzz_pickles import mutate_pickle
from _fuzz_text import mutate_bytes, mutate_csv, mutate_json
from _fuzzing import Case


def _mutate_member(rng: random.Random, name: str, data: bytes, other: bytes) -> bytes:
    """A zip's member by what it is: an array, a pickle, JSON, another zip, or bytes."""
    if data.startswith(b"\x93NUMPY"):
        return mutate_npy(rng, data, other)
    if name.endswith(".pkl"):
        return mutate_pickle(rng, data, other if other.startswith(b"\x80") else data)
    if data.startswith(b"PK"):
        return mutate_zip(rng, data, other, _mutate_member)
    return mutate_json(rng, data, other) if data.startswith(b'{"') else mutate_bytes(rng, data, other)


def _mutate_events(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """One event's content changed and framed anew, or the bytes damaged."""
    if rng.random() < 0.3:
        return mutate_bytes(rng, data, other)
    records = []
    while data:
        length = int.from_bytes(data[:8], "little")
        records.append(data[12 : 12 + length])
        data = data[16 + length :]
    i = rng.randrange(len(records))
    records[i] = mutate_bytes(rng, records[i], other)
    return b"".join(map(_fuzz_seeds.event_record, records))


MUTATIONS = {
    ".npz": lambda rng, data, other: mutate_zip(rng, data, other, _mutate_member),
    ".pkl": mutate_pickle,
    ".pt": lambda rng, data, other: mutate_zip(rng, data, other, _mutate_member),
    ".zip": lambda rng, data, other: mutate_zip(rng, data, other, _mutate_member),
    ".json": mutate_json,
    ".csv": mutate_csv,
    "": _mutate_events,
}


def mutate_case(rng: random.Random, case: Case, other: Case) -> Case:
    """One file of the input changed, by its suffix; another seed's file of that suffix to take from."""
    name = rng.choice(sorted(case))
    suffix = Path(name).suffix
    same = next((data for key, data in sorted(other.items()) if Path(key).suffix == suffix), case[name])
    if len(case) > 1 and rng.random() < 0.02:
        return {key: data for key, data in case.items() if key != name}
    with contextlib.suppress(IndexError):
        return case | {name: MUTATIONS[suffix](rng, case[name], same)}
    return case | {name: mutate_bytes(rng, case[name], same)}
