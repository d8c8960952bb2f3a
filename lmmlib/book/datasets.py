"""The data sets of the book, each verified against its checksum and returned as a typed frame.

Dictionary, design, source and terms of use: ``data/README.md``, the data page of the book.
"""

import csv
import hashlib
import io
from pathlib import Path

import pandas as pd

from lmmlib.common.arguments import require_known
from lmmlib.errors import DatasetError

#: The SHA-256 checksum of each data file.
_SHA256 = {
    "tlc": "0c3e5dd09dea51e10db2314f8e18d6e032b767d2a8e420ff56e36f00e2a2e37f",
    "dental": "910e1475611d26ae3af6d2499a876ff83c7e355491686eb8e3d074b2195c191a",
    "sleep": "0a002bec8be2fa9d40dbbf3d5038e614d113a4fd5bf8813f6f4271c3d6294675",
    "dyestuff": "4fa4c10f8db617562965d43014e2bb15df244f2cc0a1f83f47b3cd4ac40c17a1",
    "planting": "371e9bce07845e48324a669b1ed7a6bc17d6ca467f8d7876a4b18289d2166bfe",
    "seizures": "0485f2c52ede891993a528f00f1624b8c4176a37d303bb515e25af6be3e79a61",
    "ratpup": "b612cd46a8d341386adaafed6c2b5af0a017cbe1da8469932caa363209df0b58",
    "schools": "328aeb388da2bfef0ad0b2f7dc14dd77e784d13e4488d8d2bb4d3a0b7439328a",
    "chicks": "c42a760c506d9b44d61424c9d2ac8bba1e4839497d3c19a9e059b843ff539db7",
    "ticks": "25cc36aafb0389ae356f1e8e3bb33f233418ee64f853c7bbac54750694cf4413",
    "penicillin": "9a26c574d34d1b6d5a6fcb31d296ffa65fe0339eea4b77f502d90b7f2b4eca24",
    "pastes": "1ccc038f2636384688511818410a6e5b4a3d61d2f23cda657e43b2596ffd1331",
    "oats": "fa1617b5d9603d204e57d47a92f3586afacc7d5766b317aafb2ba41bdda0d568",
    "cbpp": "07d53849d29fa020ca1879087bccf6f180aabd6dd68a20cd7cd09d54518dfcca",
    "lambs": "4962f06a312ac7a12c78f67ba9e21dd0aa800ed18051658e6327e2977a2a7e00",
    "cream": "bc73491a03c312268020a08ba69700f714c1f7e10aeeb1b893ce8ac86624f9dd",
    "neyman_scott": "853ad7f74ce40486f8cf513f4470c0d6f9202c32507392a9515ce76b66c51053",
    "neyman_scott_1": "fafc3eea21e0ee582055a0a045afea713473162759b0aab36ba4b5fff9e0c4af",
    "counts_4x2": "b02f94b3a98dfc38f47e321ec1d5c08f05821d3f1da6a5313e4f34c14b20a4ff",
    "counts_50x10": "410a3f08976336d2823152f05d34418a10c4099c3384c5be6d05ed5e11a80654",
    "counts_low": "b58bfdd2607495cae5c178ed39c18053a5a90e42d3b0d9164134d058c56820f8",
    "published": "7765b9c15d1e61a26878de24b05097ca950aeed07a6bb2404e9989100a04fb80",
    "peers": "64ff555bcfceaeae7046bdc8d6303faccd296323771350e76feedd88a7a1c6f4",
}
_SLEEP = [308, 309, 310, 330, 331, 332, 333, 334, 335, 337, 349, 350, 351, 352, 369, 370, 371, 372]
#: The categorical columns of each data set, with their levels in order; [] for numbers of which there are gaps.
_LEVELS: dict[str, dict[str, list]] = {
    "tlc": {"id": list(range(1, 101)), "treatment": ["placebo", "succimer"]},
    "dental": {
        "Subject": [*(f"M{i:02d}" for i in range(1, 17)), *(f"F{i:02d}" for i in range(1, 12))],
        "Sex": ["Male", "Female"],
    },
    "sleep": {"Subject": _SLEEP},
    "dyestuff": {"Batch": list("ABCDEF")},
    "planting": {"block": list(range(1, 11)), "source": ["observed", "reconstructed"]},
    "seizures": {"patient": list(range(1, 60)), "treatment": ["placebo", "progabide"]},
    "ratpup": {"litter": list(range(1, 28)), "treatment": ["control", "low", "high"], "sex": ["male", "female"]},
    "schools": {"school": [], "sector": ["public", "catholic"], "sex": ["male", "female"], "minority": ["no", "yes"]},
    "chicks": {"chick": list(range(1, 51)), "diet": list(range(1, 5))},
    "ticks": {"chick": list(range(1, 404)), "brood": [], "location": list(range(1, 64)), "year": [1995, 1996, 1997]},
    "penicillin": {"plate": list("abcdefghijklmnopqrstuvwx"), "sample": list("ABCDEF")},
    "pastes": {
        "batch": list("ABCDEFGHIJ"),
        "cask": list("abc"),
        "sample": [f"{batch}:{cask}" for batch in "ABCDEFGHIJ" for cask in "abc"],
    },
    "oats": {
        "block": ["I", "II", "III", "IV", "V", "VI"],
        "variety": ["victory", "golden rain", "marvellous"],
    },
    "cbpp": {"herd": list(range(1, 16)), "period": list(range(1, 5))},
    "lambs": {"line": list(range(1, 6)), "sire": list(range(1, 24)), "dam_age": list(range(1, 4))},
    "cream": {"centre": list(range(1, 9)), "treatment": ["control", "drug"]},
    "neyman_scott": {"group": list(range(1, 101))},
    "neyman_scott_1": {"group": list(range(1, 101))},
    "counts_4x2": {"site": list(range(1, 5))},
    "counts_50x10": {"site": list(range(1, 51))},
    "counts_low": {"site": list(range(1, 51))},
}

_RESTORE = "Restore it with `git checkout -- data/{}.csv` in a clone, or by installing lmmlib again."


def names() -> list[str]:
    """Names of the data sets that :func:`load` knows."""
    return list(_LEVELS)


def load(name: str) -> pd.DataFrame:
    """One of the book's data sets, after its file has been compared with its SHA-256 checksum.

    Parameters
    ----------
    name : str
        Measured: ``"tlc"``, ``"dental"``, ``"sleep"``, ``"dyestuff"``, ``"planting"``,
        ``"seizures"``, ``"ratpup"``, ``"schools"``, ``"chicks"``, ``"ticks"``,
        ``"penicillin"``, ``"pastes"``, ``"oats"``, ``"cbpp"``, ``"lambs"``, ``"cream"``.
        Simulated: ``"neyman_scott"``, ``"neyman_scott_1"``, ``"counts_4x2"``, ``"counts_50x10"``, ``"counts_low"``.

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
    require_known("data set", name, names(), DatasetError)
    frame = pd.read_csv(io.BytesIO(_verified(name)))
    for column in frame.columns:
        levels = _LEVELS[name].get(column)
        if levels == []:
            levels = sorted(frame[column].unique())
        frame[column] = frame[column].astype(float if levels is None else pd.CategoricalDtype(levels))
    return frame


def published() -> pd.DataFrame:
    """The ledger: every number that the source documents print.

    Returns
    -------
    DataFrame
        Columns ``id``, ``document``, ``place``, ``quantity``, ``printed``, ``reference``, ``stopped``,
        ``kind``, ``note``; all are text exactly as in ``data/published.csv``, so that ``printed`` keeps
        its digits ("22.9760"), except ``reference``, the true value, and ``stopped``, where the
        document's optimiser was when it stopped: float, NaN where there is none.

    Raises
    ------
    DatasetError
        If the file is missing or altered.
    """
    return _printed("published")


def peers() -> pd.DataFrame:
    """What other programs print for models of this book.

    Returns
    -------
    DataFrame
        Columns ``id``, ``fit`` (which model), ``place`` (the program and its version), ``quantity``, ``printed``,
        ``read`` (the file of ``tests/reference`` that holds it, and where in it), ``reference``, ``reference_read``
        (where that was read, or how it was computed), ``stopped``, ``kind``, ``note``: text, but for ``reference``
        and ``stopped``, as in :func:`published`.

    Raises
    ------
    DatasetError
        If the file is missing or altered.
    """
    return _printed("peers")


def _printed(name: str) -> pd.DataFrame:
    frame = pd.read_csv(io.BytesIO(_verified(name)), dtype=str, keep_default_na=False)
    return frame.assign(**{name: pd.to_numeric(frame[name]) for name in ("reference", "stopped")})


def answers() -> dict[str, dict[str, str]]:
    """The digests of the answers to the problems: {problem: {"decimals", "salt", "digest"}}."""
    lines = csv.DictReader(_content("answers").decode().splitlines())
    return {line.pop("problem"): line for line in lines}


def _folder() -> Path:
    """The data folder: inside the package when installed, next to it in a clone."""
    package = Path(__file__).parents[1]
    inside = package / "data"
    return inside if inside.is_dir() else package.parent / "data"


def path(name: str) -> Path:
    """Where a data file is."""
    return _folder() / f"{name}.csv"


def _content(name: str) -> bytes:
    if not path(name).is_file():
        raise DatasetError(f"The data file {path(name)} is missing. {_RESTORE.format(name)}")
    # Git on Windows may check text out with CRLF: the same data, so the checksum is taken on LF.
    return path(name).read_bytes().replace(b"\r\n", b"\n")


def _verified(name: str) -> bytes:
    content = _content(name)
    found, expected = hashlib.sha256(content).hexdigest(), _SHA256[name]
    if found != expected:
        raise DatasetError(
            f"The data file {path(name)} has been altered: its SHA-256 is {found}, expected {expected}. "
            + _RESTORE.format(name)
        )
    return content
