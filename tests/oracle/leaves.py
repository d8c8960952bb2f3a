"""A stored answer beside ours, number by number: every leaf of a file has a value of ours, or the file is not passed.

An answer is a tree of the shape of the file. ``Near`` holds numbers of ours with a tolerance, ``WORDS`` says that any
text will do, and everything else has to be equal.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

WORDS = "any text"


@dataclass(frozen=True)
class Near:
    """Numbers in the shape of the stored ones, and how far off these may be."""

    values: object
    atol: object


def relative(values, rtol: float) -> Near:
    """A tolerance relative to each number."""
    values = np.asarray(values, float)
    return Near(values, rtol * np.abs(values))


def scaled(values, rtol: float) -> Near:
    """A tolerance relative to the largest number of each column."""
    values = np.asarray(values, float)
    return Near(values, rtol * np.abs(values).max(axis=0, keepdims=True))


def covariance(values, rtol: float) -> Near:
    """A tolerance relative to the standard deviations of row and column."""
    values = np.asarray(values, float)
    sd = np.sqrt(np.diagonal(values, axis1=-2, axis2=-1))
    return Near(values, rtol * sd[..., :, None] * sd[..., None, :])


def table(values: Near, rows, cols) -> dict:
    """A matrix with its names."""
    return {"rows": list(rows), "cols": list(cols), "values": values}


def rows(stored, ours, path: str = "") -> list[tuple[str, float, float, float]]:
    """(path, stored, ours, tolerance) of every number; what has another shape, key or text raises AssertionError."""
    if isinstance(ours, Near):
        return _numbers(stored, ours, path)
    if ours is WORDS:
        assert isinstance(stored, str), f"{path}: {stored!r} is not text"
        return []
    if isinstance(ours, dict):
        assert isinstance(stored, dict) and set(stored) == set(ours), (
            f"{path}: no answer of ours for {sorted(set(stored) ^ set(ours))}"
        )
        return [row for key in ours for row in rows(stored[key], ours[key], f"{path}/{key}")]
    if isinstance(ours, list):
        assert isinstance(stored, list) and len(stored) == len(ours), f"{path}: {stored} instead of {ours}"
        return [row for k, pair in enumerate(zip(stored, ours, strict=True)) for row in rows(*pair, f"{path}/{k}")]
    if isinstance(ours, int | float) and not isinstance(ours, bool):
        return [(path, float(stored), float(ours), 0.0)]
    assert stored == ours and type(stored) is type(ours), f"{path}: {stored!r} instead of {ours!r}"
    return []


def _numbers(stored, ours: Near, path: str):
    found, values = (np.asarray(v, dtype=float) for v in (stored, ours.values))
    assert found.shape == values.shape, f"{path}: shape {found.shape} instead of {values.shape}"
    atol = np.broadcast_to(ours.atol, values.shape)
    return [(f"{path}/{at}" if at else path, found[at], values[at], atol[at]) for at in np.ndindex(found.shape)]


def differences(compared) -> list[str]:
    """What is further off than its tolerance."""
    paths, stored, ours, atol = zip(*compared, strict=True)
    stored, ours, atol = map(np.array, (stored, ours, atol))
    far = ~((np.abs(stored - ours) <= atol) | (np.isnan(stored) & np.isnan(ours)))
    return [f"{paths[k]}: {stored[k]:.15g} is stored, ours is {ours[k]:.15g}" for k in np.flatnonzero(far)]


def unnoticed(compared, factor: float = 1.01) -> list[str]:
    """Numbers that may be multiplied by 1.01 (a zero up to rounding: become 0.01) and still pass."""
    moved = [(p, s * factor if abs(s) > 1e-12 else factor - 1, o, a) for p, s, o, a in compared if np.isfinite(s)]
    noticed = {text.split(": ")[0] for text in differences(moved)}
    return [path for path, *_ in moved if path not in noticed]


def agree(stored, ours) -> None:
    """Raise unless all numbers agree, and every one of them would be missed if it were one per cent larger."""
    compared = rows(stored, ours)
    paths = sorted(path for path, *_ in compared)
    assert all(a != b for a, b in pairwise(paths))
    far, blind = differences(compared), unnoticed(compared)
    assert not far, f"{len(far)} of {len(compared)} numbers differ:\n" + "\n".join(far[:10])
    assert not blind, f"1 % more would pass for {len(blind)} of {len(compared)} numbers:\n" + "\n".join(blind[:10])
