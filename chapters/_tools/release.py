"""`make release`: all that a reader may want, as files of one version in dist/, with checksums, each of them tried.

The wheel, the sdist, the built book, its PDF where LaTeX is, the notebooks that run anywhere, the data, CITATION.cff.
Times inside the files are that of the commit, so that the same commit and the same tools give the same bytes. dist/ is
replaced when everything has been tried, and else stays as it was.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import yaml
from nbclient import NotebookClient

import lmmlib
from tests.book import links

ROOT = Path(__file__).resolve().parents[2]
VERSION = lmmlib.__version__
TOP = f"lmmlib-book-{VERSION}"  # the folder in the archives: those of site and notebooks may be unpacked at one place
SUMS, ABOUT = "SHA256SUMS", "RELEASE.md"
LOADED = """
import sys
sys.path.insert(0, sys.argv[1])
import lmmlib
assert lmmlib.__file__.startswith(sys.argv[1]), lmmlib.__file__
assert lmmlib.__version__ == sys.argv[2] and len(lmmlib.load("tlc")) == 400
print(lmmlib.fit("lead ~ week + treatment + (1 | id)", lmmlib.load("tlc")).summary())
"""


class ReleaseError(Exception):
    """Why there is no release."""


def git(*arguments):
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise ReleaseError(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def checked_version():
    """The date of the release; all files that name the version must name the same one."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)[1]
    named = {"lmmlib.__version__": VERSION, "pyproject.toml": project, "CITATION.cff": str(cited["version"])}
    if len(set(named.values())) > 1:
        raise ReleaseError(f"versions differ: {named}")
    return str(cited["date-released"])


def packages(folder, epoch):
    """The wheel and the sdist."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", str(folder)]
    env = os.environ | {"SOURCE_DATE_EPOCH": str(epoch)}
    subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True)


def pack(path, top, files, epoch):
    """An archive of {name: path}, below one folder, in the order of names, all of one time."""
    time = datetime.fromtimestamp(epoch, UTC).timetuple()[:6]
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(files):
            about = zipfile.ZipInfo(f"{top}/{name}", time)
            about.external_attr, about.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
            archive.writestr(about, files[name].read_bytes())


def below(folder, pattern="*"):
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob(pattern) if path.is_file()}


def archives(folder, html, epoch):
    wheel = {path.name: path for path in folder.glob("*.whl")}  # the same in all archives
    pack(folder / f"{TOP}-site.zip", TOP, below(html) | wheel, epoch)
    notebooks = {name: path for name, path in below(html, "*.ipynb").items() if not name.startswith("_")}
    pack(folder / f"{TOP}-notebooks.zip", TOP, notebooks | wheel, epoch)
    data = {path.name: path for path in (ROOT / "data").iterdir() if path.suffix in (".csv", ".md")}
    pack(folder / f"lmmlib-data-{VERSION}.zip", f"lmmlib-data-{VERSION}", data, epoch)


def add_pdf(folder, pdf):
    """The book on paper, if it was made; what is said of it."""
    made = sorted(pdf.glob("*.pdf")) if pdf.exists() else []
    if len(made) > 1:
        raise ReleaseError(f"more than one PDF in {pdf.name}: {', '.join(path.name for path in made)}")
    if made:
        shutil.copyfile(made[0], folder / f"{TOP}.pdf")
        return "The book on paper is there."
    return "There is no PDF: it needs LaTeX (`make pdf`)."


def opened(path, folder):
    """What an archive holds, unpacked: the one folder in it."""
    with zipfile.ZipFile(path) as archive:
        if broken := archive.testzip():
            raise ReleaseError(f"{path.name}: {broken} is broken")
        archive.extractall(folder)
    (top,) = folder.iterdir()
    return top


def try_packages(folder, empty):
    """Install the wheel into an empty folder, without a network; make it again from the sdist."""
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    installed, made = empty / "installed", empty / "made"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", installed, wheel], check=True)
    said = subprocess.run([sys.executable, "-I", "-c", LOADED, str(installed), VERSION], capture_output=True, text=True)
    if said.returncode or "REML criterion 2670.1852" not in said.stdout:
        raise ReleaseError(f"{wheel.name} does not work on its own: {said.stderr[-300:]}")
    shutil.unpack_archive(sdist, empty / "source", filter="data")
    (source,) = (empty / "source").iterdir()
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(made)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(next(made.iterdir())) as other:
        names = [name for name in one.namelist() if ".dist-info/" not in name]
        if any(one.read(name) != other.read(name) for name in names):
            raise ReleaseError(f"{sdist.name} does not give {wheel.name}")
    return installed


def try_site(folder, empty):
    site = opened(folder / f"{TOP}-site.zip", empty / "site")
    toc = re.findall(r"(?:file|root): (\S+)", (ROOT / "_toc.yml").read_text(encoding="utf-8"))
    missing = [page for page in toc if not (site / f"{page}.html").exists()]
    if missing or not (site / "index.html").exists():
        raise ReleaseError(f"the site lacks {missing or 'index.html'}: run `make book`")
    if broken := links.broken(site):
        raise ReleaseError(f"links of the site lead nowhere: {broken[:3]}")


def try_notebooks(folder, empty, installed):
    """All are notebooks; one is executed with the wheel that was installed, in the folder where it was unpacked."""
    top = opened(folder / f"{TOP}-notebooks.zip", empty / "notebooks")
    paths = below(top, "*.ipynb")
    for path in paths.values():
        nbformat.validate(nbformat.read(path, as_version=4))
    book = nbformat.read(paths["chapters/index.ipynb"], as_version=4)
    book.cells.append(nbformat.v4.new_code_cell("import lmmlib; print(lmmlib.__file__)"))
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(installed)
    try:
        NotebookClient(book, timeout=300, resources={"metadata": {"path": str(top / "chapters")}}).execute()
    finally:
        os.environ.pop("PYTHONPATH")
        os.environ |= {"PYTHONPATH": before} if before is not None else {}
    if not book.cells[-1].outputs[0].text.startswith(str(installed)):
        raise ReleaseError("the notebook was executed with another lmmlib than that of the wheel")


def try_data(folder, empty):
    data = opened(folder / f"lmmlib-data-{VERSION}.zip", empty / "data")
    for path in data.iterdir():
        if path.read_bytes() != (ROOT / "data" / path.name).read_bytes():
            raise ReleaseError(f"{path.name} is not what the repository holds")


def sums(folder):
    """Lines of SHA256SUMS, which `sha256sum --check` reads."""
    names = sorted(path.name for path in folder.iterdir() if path.name != SUMS)
    return "".join(f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names)


def make(folder, html=ROOT / "_build" / "html", pdf=ROOT / "_build" / "pdf"):
    """Write a release into an empty folder and try it; what is to be said of it."""
    released = checked_version()
    if not (html / "index.html").exists():
        raise ReleaseError("there is no book: run `make book`")
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct"))
    packages(folder, epoch)
    archives(folder, html, epoch)
    said = add_pdf(folder, pdf)
    shutil.copyfile(ROOT / "CITATION.cff", folder / "CITATION.cff")
    revision = git("rev-parse", "HEAD") + (
        " and changes that are not committed" if git("status", "--porcelain") else ""
    )
    about = f"# lmmlib and its book, version {VERSION}\n\nReleased {released}, revision {revision}. {said}\n"
    (folder / ABOUT).write_text(about, encoding="utf-8")
    (folder / SUMS).write_text(sums(folder), encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="release-") as name:
        empty = Path(name).resolve()
        installed = try_packages(folder, empty)
        try_site(folder, empty)
        try_notebooks(folder, empty, installed)
        try_data(folder, empty)
    return about


def main(dist=ROOT / "dist"):
    try:
        if changed := git("status", "--porcelain"):
            raise ReleaseError(f"a release is one commit; these files are not committed:\n{changed}")
        with tempfile.TemporaryDirectory(prefix=".release-", dir=ROOT) as name:
            new = Path(name, "dist")
            new.mkdir()
            about = make(new)
            shutil.rmtree(dist, ignore_errors=True)
            os.replace(new, dist)
    except ReleaseError as error:
        print(f"no release: {error}")
        return 1
    print(about + "\n" + (dist / SUMS).read_text(encoding="utf-8"), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
