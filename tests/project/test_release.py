"""`make release`: same bytes from the same commit, each file tried, and nothing replaced by a release that fails."""

import hashlib
import shutil
import zipfile

import pytest

from chapters._tools import release
from tests.notebooks.conftest import ROOT

EPOCH = 1_790_000_000


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages")
    release.packages(folder, EPOCH)
    return folder


def test_the_packages_have_the_same_bytes_each_time(packages, tmp_path):
    release.packages(tmp_path, EPOCH)
    names = sorted(path.name for path in packages.iterdir())
    assert len(names) == 2 and all((tmp_path / name).read_bytes() == (packages / name).read_bytes() for name in names)


def test_the_packages_work_in_an_empty_folder(packages, tmp_path):
    assert (release.try_packages(packages, tmp_path) / "lmmlib" / "data" / "tlc.csv").exists()


def test_a_wheel_without_its_data_is_noticed(packages, tmp_path):
    for path in packages.iterdir():
        shutil.copy(path, tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(next(packages.glob("*.whl"))) as old, zipfile.ZipFile(wheel, "w") as new:
        for name in old.namelist():
            if not name.endswith("tlc.csv"):
                new.writestr(name, old.read(name))
    with pytest.raises(release.ReleaseError, match="does not work on its own"):
        release.try_packages(tmp_path, tmp_path / "empty")


def test_an_archive_depends_on_its_files_alone(tmp_path):
    for name in ("b.txt", "a.txt"):
        (tmp_path / name).write_text(name)
    files = {name: tmp_path / name for name in ("b.txt", "a.txt")}
    release.pack(tmp_path / "1.zip", "top", files, EPOCH)
    (tmp_path / "a.txt").touch()
    release.pack(tmp_path / "2.zip", "top", dict(reversed(files.items())), EPOCH)
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()
    top = release.opened(tmp_path / "1.zip", tmp_path / "out")
    assert top.name == "top" and sorted(path.read_text() for path in top.iterdir()) == ["a.txt", "b.txt"]


def test_site_and_notebooks_hold_the_wheel_of_the_release(tmp_path):
    """That beside the built pages has other times in it, so other bytes."""
    html, out = tmp_path / "html", tmp_path / "out"
    for name in ("index.html", "chapters/a.ipynb", "chapters/a.html", "_sources/b.ipynb", "lmmlib-1-py3-none-any.whl"):
        (html / name).parent.mkdir(parents=True, exist_ok=True)
        (html / name).write_text("of the build")
    out.mkdir()
    (out / "lmmlib-1-py3-none-any.whl").write_text("of the release")
    release.archives(out, html, EPOCH)
    site = release.opened(out / f"{release.TOP}-site.zip", tmp_path / "site")
    books = release.opened(out / f"{release.TOP}-notebooks.zip", tmp_path / "books")
    assert len(release.below(site)) == 5
    assert set(release.below(books)) == {"chapters/a.ipynb", "lmmlib-1-py3-none-any.whl"}
    assert {(top / "lmmlib-1-py3-none-any.whl").read_text() for top in (site, books)} == {"of the release"}


def test_the_data_are_those_of_the_repository(tmp_path):
    files = {path.name: path for path in (ROOT / "data").iterdir() if path.suffix in (".csv", ".md")}
    name = f"lmmlib-data-{release.VERSION}"
    release.pack(tmp_path / f"{name}.zip", name, files, EPOCH)
    release.try_data(tmp_path, tmp_path / "good")
    (tmp_path / "tlc.csv").write_text("id\n")
    release.pack(tmp_path / f"{name}.zip", name, files | {"tlc.csv": tmp_path / "tlc.csv"}, EPOCH)
    with pytest.raises(release.ReleaseError, match="tlc.csv is not what the repository holds"):
        release.try_data(tmp_path, tmp_path / "bad")


def test_checksums_are_those_that_sha256sum_reads(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / release.SUMS).write_text("old")
    assert release.sums(tmp_path) == f"{hashlib.sha256(b'1').hexdigest()}  a\n"


def test_without_latex_it_is_said(tmp_path):
    assert "There is no PDF" in release.add_pdf(tmp_path, tmp_path / "none")
    (tmp_path / "pdf").mkdir()
    (tmp_path / "pdf" / "book.pdf").write_bytes(b"%PDF")
    assert "is there" in release.add_pdf(tmp_path, tmp_path / "pdf") and (tmp_path / f"{release.TOP}.pdf").exists()


def test_one_version_is_named_everywhere(monkeypatch):
    assert release.checked_version()
    monkeypatch.setattr(release, "VERSION", "9.9.9")
    with pytest.raises(release.ReleaseError, match="versions differ: .*9.9.9"):
        release.checked_version()


@pytest.mark.parametrize("why", ["uncommitted", "failing"])
def test_what_fails_leaves_the_release_before(tmp_path, monkeypatch, capsys, why):
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "old").touch()
    monkeypatch.setattr(release, "git", lambda *_: " M README.md" if why == "uncommitted" else "")

    def failing(folder):
        raise release.ReleaseError("there is no book: run `make book`")

    monkeypatch.setattr(release, "make", failing)
    assert release.main(tmp_path / "dist") == 1
    said = capsys.readouterr().out
    assert said.startswith("no release: ") and ("README.md" in said if why == "uncommitted" else "make book" in said)
    assert [path.name for path in (tmp_path / "dist").iterdir()] == ["old"]
    assert not list(ROOT.glob(".release-*"))


def test_the_commit_is_asked_of_git():
    assert len(release.git("rev-parse", "HEAD")) == 40
    with pytest.raises(release.ReleaseError, match="git no-such"):
        release.git("no-such")


def test_the_book_of_a_release_is_whole(tmp_path):
    """A site that lacks a page is noticed."""
    html = tmp_path / "html"
    html.mkdir()
    (html / "index.html").write_text("<html></html>")
    release.pack(tmp_path / f"{release.TOP}-site.zip", release.TOP, release.below(html), EPOCH)
    with pytest.raises(release.ReleaseError, match="the site lacks .*chapters/index"):
        release.try_site(tmp_path, tmp_path / "out")
