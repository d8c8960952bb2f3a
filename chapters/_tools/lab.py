"""`make lab`: bring the pages of the built book to a folder of your own, where JupyterLab opens them.

They are copies, yours to change and run. A copy that you changed is never written again; one that is as it was brought
follows the book. Links lead to the pages of the built book, which the server of JupyterLab shows as well (the Makefile
tells it where they are).
"""

import hashlib
import json
import sys
from pathlib import Path

from chapters._tools.replacing import replace_text

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "_build" / "html"
FOLDER = ROOT / "my-notebooks"
RECORD = ".brought.json"  # digests of the copies as they were brought
SERVED = "/static/"  # where the server of JupyterLab shows the book


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def with_links(text):
    """The text of a portable notebook whose links lead to the book that the server shows."""
    notebook = json.loads(text)
    base = notebook["metadata"]["lmmlib"]["book"]
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = "".join(cell["source"]).replace(f"]({base}", f"]({SERVED}")
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def bring(book=BOOK, folder=FOLDER):
    """Copy what is new in the book and not changed in the folder; return the names of the pages that you changed."""
    folder.mkdir(exist_ok=True)
    record = folder / RECORD
    brought = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    changed = []
    for page in sorted((book / "chapters").rglob("*.ipynb")):
        copy = folder / page.relative_to(book / "chapters")
        name = copy.relative_to(folder).as_posix()
        text = with_links(page.read_text(encoding="utf-8"))
        is_there = copy.read_text(encoding="utf-8") if copy.exists() else None
        if is_there is not None and digest(is_there) not in (brought.get(name), digest(text)):
            changed.append(name)
            continue
        if is_there != text:
            copy.parent.mkdir(parents=True, exist_ok=True)
            replace_text(copy, text)
        brought[name] = digest(text)
    replace_text(record, json.dumps(brought, indent=1) + "\n")
    return changed


def main():
    changed = bring()
    print(f"the pages of the book are in {FOLDER}: copies, yours to change")
    if changed:
        print("left as you changed them (rename one to get the page of the book again):", *changed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
