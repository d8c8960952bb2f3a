"""lme4's formula syntax: text taken apart, nothing evaluated."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from lmmlib.design.expressions import column_name, masked, unmask
from lmmlib.errors import FormulaError


@dataclass(frozen=True)
class Parts:
    """A formula taken apart: ``response ~ fixed + (random | group)``."""

    response: str
    fixed: str
    random: str | None
    group: str | None
    diagonal: bool


@dataclass(frozen=True)
class Terms:
    """A formula of several random terms: ``response ~ fixed + (random | group) + ...``.

    ``bars`` has the text of each term, the columns whose cells are its groups, and whether it reads ``||``.
    """

    response: str
    fixed: str
    bars: tuple[tuple[str, tuple[str, ...], bool], ...]


def several_terms(formula: str, always: bool = False) -> Terms | None:
    """A formula taken apart, if it has several groupings, or several terms for one that are not one D; else None.

    ``(x | a/b)`` is ``(x | a) + (x | a:b)``, and the groups of ``a:b`` are the cells of a and b.

    Parameters
    ----------
    formula : str
        ``y ~ (1 | g) + (1 | h)``, ``(1 | a/b)``, ``(x | g) + (1 | h)``, ``(1 | a:b)``, ``(x | g) + (0 + z | g)``.
    always : bool
        Take every formula with a random term apart.

    Raises
    ------
    FormulaError
        If the formula does not parse.
    """
    if not isinstance(formula, str) or "|" not in formula:
        return None
    text = masked(formula)
    sides = text.split("~")
    if len(sides) != 2 or not sides[0].strip() or "`" in text:
        return None  # parse says what is wrong
    try:
        fixed, bars = _take_bars(sides[1], text)
    except FormulaError as error:
        raise FormulaError(unmask(str(error))) from None
    groups = {group for _, group, _ in bars}
    single = len(groups) < 2 and not any(re.search("[:/*+]", group) for group in groups)
    columns = [column for one, _, double in bars if (column := _single_column(one, double))]
    if single and (len(bars) < 2 or len(set(columns)) == len(bars)) and not (always and bars):
        return None
    found = [(unmask(one), cell, double) for one, group, double in bars for cell in _cells(group, formula)]
    return Terms(unmask(sides[0].strip()), unmask(fixed) or "1", tuple(found))


def _cells(group: str, formula: str) -> list[tuple[str, ...]]:
    """The columns whose cells are the groups of ``a``, ``a:b``, or of each of the two that ``a/b`` stands for."""
    levels = [[part.strip() for part in level.split(":")] for level in group.split("/")]
    for part in (part for level in levels for part in level):
        if not re.fullmatch(r"[^\W\d]\w*", part):
            raise FormulaError(
                f"the groups of {unmask(group)!r} in {formula!r} must be columns, joined by : (cells) or / (nested); "
                f"got {unmask(part)!r}; a name with other signs is written in backticks"
            )
    names = [[column_name(part) for part in level] for level in levels]
    return [tuple(dict.fromkeys(sum(names[: k + 1], []))) for k in range(len(names))]


def parse(formula: str) -> Parts:
    """Take an lme4 formula with one grouping factor apart.

    ``(x || g)``, and ``(1 | g) + (0 + x | g)``, mean uncorrelated random effects (D diagonal).

    Parameters
    ----------
    formula : str
        ``y ~ x``, ``y ~ x + (1 | g)``, ``(x | g)``, ``(0 + x | g)``, ``(1 + x + I(x**2) | g)``, ``(x || g)``.

    Raises
    ------
    FormulaError
        If the formula does not parse or has several grouping factors.
    """
    if not isinstance(formula, str):
        raise FormulaError(f"the formula must be text such as 'y ~ x + (1 | g)'; got {type(formula).__name__}")
    return _quoted(formula) if "`" in formula else _parts(formula)


@lru_cache(maxsize=512)
def _parts(formula: str) -> Parts:
    """Parts of a formula without backticks."""
    sides = formula.split("~")
    if len(sides) != 2 or not sides[0].strip() or not sides[1].strip():
        raise FormulaError(f"{formula!r} must have the form 'response ~ terms', with one ~ and something on both sides")
    fixed, bars = _take_bars(sides[1], formula)
    parts = Parts(sides[0].strip(), fixed or "1", None, None, False)
    if not bars:
        return parts
    groups = {group for _, group, _ in bars}
    if len(groups) > 1 or any(re.search(r"[:/*+]", g) for g in groups):
        raise FormulaError(
            f"{formula!r} has several grouping factors ({', '.join(sorted(groups))}); lmmlib.fit takes several, "
            "and here there is one. For a cell of two factors, make one column of both and group by it"
        )
    group = groups.pop()
    if not re.fullmatch(r"[^\W\d]\w*", group):
        raise FormulaError(
            f"the grouping factor in {formula!r} must be the name of a column; got {group!r}; if a column is called "
            f"so, write it in backticks, (1 | `{group}`)"
        )
    if len(bars) == 1:
        random, _, double = bars[0]
        return replace(parts, random=random, group=group, diagonal=double)
    columns = [column for text, _, double in bars if (column := _single_column(text, double))]
    if len(set(columns)) < len(bars):
        raise FormulaError(
            f"{formula!r} has several random terms for {group} that are not one column each; lmmlib has one full D, "
            f"(x | {group}), or one diagonal D, (x || {group}), which is (1 | {group}) + (0 + x | {group})"
        )
    random = " + ".join(["1" if "1" in columns else "0", *(c for c in columns if c != "1")])
    return replace(parts, random=random, group=group, diagonal=True)


def _quoted(formula: str) -> Parts:
    """Parts of a formula with names in backticks, which may hold any sign: they are set aside meanwhile."""
    text = masked(formula)
    if "`" in text:
        raise FormulaError(f"{formula!r} has a backtick without its partner, or nothing between two of them")
    try:
        parts = _parts(text)
    except FormulaError as error:
        raise FormulaError(unmask(str(error))) from None
    return replace(
        parts,
        response=unmask(parts.response),
        fixed=unmask(parts.fixed),
        random=parts.random and unmask(parts.random),
        group=parts.group and column_name(parts.group),
    )


def _single_column(text: str, double: bool) -> str | None:
    """The one column of a random term such as ``1`` or ``0 + x``; None if it has more."""
    summands = [s.strip() for s in re.sub(r"-\s*1\b", "+ 0", text).split("+") if s.strip()]
    if summands == ["1"]:
        return "1"
    columns = [s for s in summands if s != "0"]
    crossed = re.search(r"[*/^]|%in%", re.sub(r"\(.*\)", "", text))
    return columns[0] if len(summands) == 2 and len(columns) == 1 and not (double or crossed) else None


def _take_bars(text: str, formula: str) -> tuple[str, list[tuple[str, str, bool]]]:
    """Split the right-hand side into its fixed part and its ``(random | group)`` terms."""
    bars, fixed, depth, start = [], "", 0, 0
    for position, char in enumerate(text):
        if char == "(":
            if depth == 0:
                start = position
            depth += 1
        if depth == 0:
            fixed += char
        if char == ")":
            depth -= 1
            if depth < 0:
                raise FormulaError(f"{formula!r} has a closing parenthesis too many")
            if depth == 0:
                inside = text[start + 1 : position]
                if "|" in inside and re.search(r"(^|\+)\s*$", fixed):
                    if re.match(r"\s*[^\s+)-]", text[position + 1 :]):
                        raise FormulaError(f"the random term ({inside}) in {formula!r} can only be added, with +")
                    bars.append(_bar(inside, formula))
                    fixed = re.sub(r"\+?\s*$", "", fixed) + " "
                else:
                    fixed += text[start : position + 1]
    if depth:
        raise FormulaError(f"{formula!r} has an opening parenthesis without its closing one")
    if "|" in fixed:
        raise FormulaError(f"a random term in {formula!r} needs parentheses of its own: + (x | g)")
    return re.sub(r"^\s*\+", "", fixed).strip(), bars


def _bar(inside: str, formula: str) -> tuple[str, str, bool]:
    match = re.fullmatch(r"([^|]*)(\|\|?)([^|]*)", inside)
    if not match or not match[1].strip() or not match[3].strip():
        raise FormulaError(f"the random term ({inside}) in {formula!r} must read (terms | group) or (terms || group)")
    return match[1].strip(), match[3].strip(), match[2] == "||"
