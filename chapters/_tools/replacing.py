"""A file of this repository is replaced whole or not at all."""

import contextlib
import os
import shutil
from pathlib import Path


def replace_text(path, text):
    """Let a file hold ``text``; whatever stops this half way leaves it as it was.

    The text goes to a new file beside it, and to the disk, before that file takes the name.
    """
    path = Path(path).resolve()
    new = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with new.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(path, new)
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)
