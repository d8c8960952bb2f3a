"""Which visit of its group each row is, and which covariance its group has: what a structure makes of a data frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from lmmlib.design.design import Design
from lmmlib.design.formula import require_columns
from lmmlib.design.frames import group_codes, is_text
from lmmlib.design.known import known_values
from lmmlib.errors import DataError, DesignError
from lmmlib.residual.structures import Ar1, Structure

# A distance that is so near to a whole number of steps is one.
WHOLE = 1e-6


@dataclass(frozen=True, eq=False)
class Visits:
    """The visits of the rows of a design.

    ``code`` (n_obs,): each row's visit among ``levels``, each a tuple of values; ``cell`` (n_groups,): each group's
    covariance among ``cells``; ``positions`` (levels,): of the levels, in steps of length ``step`` from ``origin``
    where they are times; ``most``: visits that a group has at most.
    """

    structure: Structure
    code: np.ndarray
    levels: tuple
    cell: np.ndarray
    cells: tuple
    positions: np.ndarray
    most: int
    step: float = 0.0
    origin: float = 0.0

    @classmethod
    def of(cls, structure: Structure, design: Design, data: pd.DataFrame, missing: str, given: dict) -> Visits:
        """The visits of the rows of ``data`` that the design has; ``given`` are its weights and offset.

        Raises
        ------
        DataError
            If a column is missing, or has missing values.
        DesignError
            If a visit is twice in a group, or a column of ``by`` changes within groups.
        """
        columns = [*structure.visits, *structure.by]
        require_columns(columns, data, repr(structure))
        rows = _rows_of(design, data, missing, given)[columns]
        for name in columns:
            if rows[name].isna().any():
                raise DataError(
                    f"{structure!r} needs {name!r} in every row, and it is missing in {int(rows[name].isna().sum())}; "
                    f"leave these rows out: data.dropna(subset=[{name!r}])"
                )
        code, levels = _levels(rows, structure.visits)
        of_row, cells = _levels(rows, structure.by)
        cell = np.zeros(design.n_groups, int)
        cell[design.group] = of_row
        if (changes := np.flatnonzero(cell[design.group] != of_row)).size:
            group = design.group_names[design.group[changes[0]]]
            raise DesignError(
                f"{', '.join(structure.by)} changes within the group {group!r} of {design.grouping!r}, so that its "
                f"rows have no one covariance; a variance for each level is by({', '.join(map(repr, structure.by))})"
            )
        if not structure.is_diagonal:
            _check_once(structure, design, code, levels)
        positions, step, origin = np.arange(len(levels), dtype=float), 0.0, 0.0
        if isinstance(structure, Ar1) and not is_text(rows[structure.visits[0]]):
            times = np.array([level[0] for level in levels], float)
            step, origin = _step(times), times[0]
            positions = _in_steps(times, step, origin)
        return cls(structure, code, levels, cell, cells, positions, int(design.n_i.max()), step, origin)

    def take(self, rows: np.ndarray, design: Design) -> Visits:
        """The visits of some rows, of which the design is."""
        return replace(self, code=self.code[rows], most=int(design.n_i.max()))

    def label(self, level: int) -> str:
        """The visit in words."""
        return _label(self.levels[level])

    def names(self) -> list[str]:
        """Names of the parameters that are reported, cell after cell."""
        own = self.structure.named([_label(level) for level in self.levels])
        if not self.structure.by:
            return own
        heads = [(f"{_label(cell)}: ", name.partition(" ")) for cell in self.cells for name in own]
        return [f"{name} {cell}{level}" if level else f"{name} {cell[:-2]}" for cell, (name, _, level) in heads]

    def of_new(self, new: pd.DataFrame, group: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of new rows in these groups (-1: none): visits (rows,), their covariances (rows,), positions of all visits.

        Raises
        ------
        DataError
            If a column is missing, or R is not known for a level.
        """
        structure = self.structure
        require_columns(list(structure.visits), new, repr(structure))
        if structure.by and not (set(structure.by) <= set(new.columns) or (group < 0).any()):
            cell = self.cell[group]
        else:
            require_columns(list(structure.by), new, repr(structure))
            cell = _places(new, structure.by, self.cells)
        code, positions = _places(new, structure.visits, self.levels, structure.extends), self.positions
        if (unknown := code < 0).any():
            if self.step:
                times = np.asarray(new[structure.visits[0]], float)[unknown]
                if not np.isfinite(times).all():
                    raise DataError(f"{structure.visits[0]!r} is missing or infinite in a new row")
                found = _in_steps(times, self.step, self.origin)
            else:
                found = len(positions) + np.arange(unknown.sum(), dtype=float)
            code[unknown] = len(positions) + np.arange(len(found))
            positions = np.concatenate([positions, found])
        return code, cell, positions


def _rows_of(design: Design, data: pd.DataFrame, missing: str, given: dict) -> pd.DataFrame:
    """The rows of the data that a design has kept."""
    if not design.n_dropped:
        return data
    known = known_values(given, data, missing)[1] if given else np.ones(len(data), bool)
    used = [*design.columns, *([] if design.grouping in design.columns else [design.grouping])]
    return data[known & data[used].notna().all(axis=1).to_numpy()]


def _levels(rows: pd.DataFrame, columns: tuple[str, ...]) -> tuple[np.ndarray, tuple]:
    """Each row's place among the levels of columns, or their combinations, and these in their order."""
    if not columns:
        return np.zeros(len(rows), int), ((),)
    parts = [group_codes(rows[name]) for name in columns]
    there, code = np.unique(np.column_stack([codes for codes, _ in parts]), axis=0, return_inverse=True)
    levels = tuple(tuple(names[c] for c, (_, names) in zip(row, parts, strict=True)) for row in there)
    return code.ravel(), levels


def _places(new: pd.DataFrame, columns: tuple[str, ...], levels: tuple, extends: bool = False) -> np.ndarray:
    """Each row's place among known levels; -1 for another one, if there may be such."""
    place = {level: k for k, level in enumerate(levels)}
    rows = list(zip(*(new[name] for name in columns), strict=True)) if columns else [()] * len(new)
    code = np.array([place.get(row, -1) for row in rows], int)
    if (code < 0).any() and not extends:
        row = rows[int(np.argmin(code))]
        raise DataError(
            f"{', '.join(columns)} = {_label(row)} is not in the data of the fit, which know "
            f"{'; '.join(map(_label, levels[:10]))}: the residual variance there is not known"
        )
    return code


def _check_once(structure: Structure, design: Design, code: np.ndarray, levels: tuple) -> None:
    """Raise unless there are several visits, each once in a group."""
    (name,) = structure.visits
    if len(levels) < 2:
        raise DesignError(f"{name!r} has the single level {_label(levels[0])}, so there are no visits to correlate")
    seen = pd.DataFrame({"group": design.group, "code": code})
    if (twice := seen.duplicated().to_numpy()).any():
        row = int(np.argmax(twice))
        raise DesignError(
            f"the visit {name} = {_label(levels[code[row]])} is twice in the group "
            f"{design.group_names[design.group[row]]!r} of {design.grouping!r}: {structure!r} needs each visit once in "
            "a group; number the visits, or take means"
        )


def _step(times: np.ndarray) -> float:
    """The largest common measure of whole numbers; of others the shortest distance."""
    apart = np.diff(np.sort(times))
    whole = (apart == np.round(apart)).all()
    return float(np.gcd.reduce(apart.astype(int)) if whole else apart.min())


def _in_steps(times: np.ndarray, step: float, origin: float) -> np.ndarray:
    """Times as numbers of steps, whole where they nearly are."""
    steps = (times - origin) / step
    whole = np.round(steps)
    return np.where(np.abs(steps - whole) < WHOLE, whole, steps)


def _label(level: tuple) -> str:
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in level)
