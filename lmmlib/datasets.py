"""The data sets of the book, each verified against its checksum and returned as a typed frame.

Dictionary, design, source and terms of use: ``data/README.md``, the data page of the book.
"""

import difflib
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from lmmlib.errors import DatasetError


@dataclass(frozen=True)
class _File:
    """What a data file must be: its checksum, and its categorical columns with their levels in order."""

    sha256: str
    levels: dict


_DENTAL = [f"M{i:02d}" for i in range(1, 17)] + [f"F{i:02d}" for i in range(1, 12)]
_SLEEP = [308, 309, 310, 330, 331, 332, 333, 334, 335, 337, 349, 350, 351, 352, 369, 370, 371, 372]

_FILES = MappingProxyType(
    {
        "tlc": _File(
            "0c3e5dd09dea51e10db2314f8e18d6e032b767d2a8e420ff56e36f00e2a2e37f",
            {"id": list(range(1, 101)), "treatment": ["placebo", "succimer"]},
        ),
        "dental": _File(
            "910e1475611d26ae3af6d2499a876ff83c7e355491686eb8e3d074b2195c191a",
            {"Subject": _DENTAL, "Sex": ["Male", "Female"]},
        ),
        "sleep": _File(
            "0a002bec8be2fa9d40dbbf3d5038e614d113a4fd5bf8813f6f4271c3d6294675",
            {"Subject": _SLEEP},
        ),
        "dyestuff": _File(
            "4fa4c10f8db617562965d43014e2bb15df244f2cc0a1f83f47b3cd4ac40c17a1",
            {"Batch": list("ABCDEF")},
        ),
        "planting": _File(
            "371e9bce07845e48324a669b1ed7a6bc17d6ca467f8d7876a4b18289d2166bfe",
            {"block": list(range(1, 11)), "source": ["observed", "reconstructed"]},
        ),
        "published": _File(
            "1814bbd5e05dc12f8486adfe0e10e9b961ca3f86ad639a8f052c796012a16d45",
            {},
        ),
    }
)


def names() -> list[str]:
    """Names of the data sets that :func:`load` knows."""
    return [name for name in _FILES if name != "published"]


def load(name: str) -> pd.DataFrame:
    """One of the book's data sets, after its file has been compared with its SHA-256 checksum.

    Parameters
    ----------
    name : str
        ``"tlc"``, ``"dental"``, ``"sleep"``, ``"dyestuff"`` or ``"planting"``.

    Returns
    -------
    DataFrame
        One row per observation. Grouping and treatment columns are categorical, the reference
        level first; all others are float. Columns, units and sources are on the data page.

    Raises
    ------
    DatasetError
        If the name is unknown (the message lists the names), the file is missing, or its content
        is not the one that the book was computed from.

    Examples
    --------
    >>> import lmmlib
    >>> lmmlib.load("tlc").shape
    (400, 4)
    """
    if name not in names():
        near = difflib.get_close_matches(str(name).lower(), names(), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise DatasetError(f"There is no data set {name!r}.{hint} The names are: {', '.join(names())}.")
    frame = pd.read_csv(io.BytesIO(_verified(name)))
    levels = _FILES[name].levels
    return frame.assign(
        **{
            column: pd.Categorical(frame[column], categories=levels[column])
            if column in levels
            else frame[column].astype(float)
            for column in frame.columns
        }
    )


def published() -> pd.DataFrame:
    """The ledger: every number that the source documents print.

    Returns
    -------
    DataFrame
        Columns ``id``, ``document``, ``place``, ``quantity``, ``printed``, ``reference``, ``kind``,
        ``note``, ``chapter``; all are text exactly as in ``data/published.csv``, so that ``printed``
        keeps its digits ("22.9760"), except ``reference``: float, NaN where there is none.

    Raises
    ------
    DatasetError
        If the file is missing or altered.
    """
    frame = pd.read_csv(io.BytesIO(_verified("published")), dtype=str, keep_default_na=False)
    return frame.assign(reference=pd.to_numeric(frame["reference"]))


def _folder() -> Path:
    """The data folder: inside the package when installed, next to it in a clone."""
    inside = Path(__file__).parent / "data"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "data"


def _verified(name: str) -> bytes:
    path = _folder() / f"{name}.csv"
    restore = f"Restore it with `git checkout -- data/{name}.csv` in a clone, or by installing lmmlib again."
    if not path.is_file():
        raise DatasetError(f"The data file {path} is missing. {restore}")
    # Git on Windows may check text out with CRLF: the same data, so the checksum is taken on LF.
    content = path.read_bytes().replace(b"\r\n", b"\n")
    found, expected = hashlib.sha256(content).hexdigest(), _FILES[name].sha256
    if found != expected:
        raise DatasetError(
            f"The data file {path} has been altered: its SHA-256 is {found}, expected {expected}. {restore}"
        )
    return content
