"""Peak memory of one fit in a process of its own: ``python -m benchmarks.memory FOLDER`` prints it as JSON.

The convention: what the fit allocates at its peak, its result included and the data frame not, over the frame's
``memory_usage(deep=True).sum()``. Counted by tracemalloc, which sees every array of NumPy; and, where the system tells
it, as the growth of the largest resident size, which also sees what compiled code allocates for itself.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd

import lmmlib

FORMULA = "y ~ x + (x | g)"


def of_fit(frame: pd.DataFrame) -> dict[str, float]:
    """Peaks of a fit to columns g, x, y in a fresh process, as multiples of the frame: ``traced``, ``resident``."""
    with tempfile.TemporaryDirectory() as folder:
        # The child reads single columns, so that making the data leaves no trace in its peak.
        for name in ("g", "x", "y"):
            np.save(Path(folder) / f"{name}.npy", frame[name].to_numpy())
        command = [sys.executable, "-m", "benchmarks.memory", folder]
        done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def peaks(frame: pd.DataFrame) -> dict[str, float]:
    """Peaks of a fit in this process, as multiples of the frame."""
    size = frame.memory_usage(deep=True).sum()
    lmmlib.fit(FORMULA, frame.iloc[:100])  # whatever the first fit of a process loads
    before = resident()
    lmmlib.fit(FORMULA, frame)
    grown = None if before is None else (resident() - before) / size
    tracemalloc.start()
    begin = tracemalloc.get_traced_memory()[0]
    fitted = lmmlib.fit(FORMULA, frame)
    kept, peak = (value - begin for value in tracemalloc.get_traced_memory())
    tracemalloc.stop()
    return {"traced": peak / size, "kept": kept / size, "resident": grown, "criterion": fitted.criterion}


def resident() -> float | None:
    """Largest resident size of this process so far, in bytes; None where the system does not tell."""
    try:
        # Linux: what getrusage reports begins with the size of the parent.
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        pass
    if sys.platform != "darwin":
        return None
    import resource

    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


if __name__ == "__main__":
    print(json.dumps(peaks(pd.DataFrame({name: np.load(Path(sys.argv[1]) / f"{name}.npy") for name in "gxy"}))))
