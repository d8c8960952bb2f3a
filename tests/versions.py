"""`make try WITH=...`: a short set of tests where other readers stand: other versions, machines, languages, rights.

``lowest``      the lowest versions that pyproject.toml declares for lmmlib, in an environment of their own
``latest``      the newest versions of everything that it allows; says which are newer than requirements.lock
``python3.12``  another Python (its name or its path), with the versions of requirements.lock
``wheels``      nothing is run: whether requirements.lock has a wheel of each package for each system and Python
``threads``     two and four threads of BLAS instead of one
``kernels``     OpenBLAS with the code for other processors, as far as this one can run it
``locales``     German and Turkish, set as a program sets them that follows its user
``user``        a user without rights in a repository that cannot be written
``compiler``    no C compiler in reach

Further words are the tests to run instead of the short set; ``chapters`` among them are all notebooks. Ends with 1 if
anything failed that could be run; what could not is said.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from contextlib import contextmanager
from pathlib import Path

from chapters._tools.environment import pins, uv

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
SHORT = ("tests/unit/lmm", "tests/oracle")
OPTIONS = ("-q", "--tb=short", "-p", "no:cacheprovider", "-m", "not slow and not statistical")
WITHOUT_NBVAL = ("-p", "no:nbval")
KERNELS = ("Prescott", "Nehalem", "Sandybridge", "Haswell", "Zen", "SkylakeX", "ARMV8", "NEOVERSEN1")
CALLED = {"Prescott": "Katmai"}  # what OpenBLAS calls the code for the oldest
WARNED = ("-W", "ignore::DeprecationWarning", "-W", "ignore::PendingDeprecationWarning")
# As uv names them: Linux, macOS on Apple's processors, Windows. For Intel Macs some packages have no wheels any more.
SYSTEMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin", "windows")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
LOCALES = ("de_DE.UTF-8", "tr_TR.UTF-8")
# What the short set needs beside lmmlib's own dependencies.
TOOLS = ("pytest", "hypothesis", "statsmodels", "arviz", "nbformat")
KERNEL = "import numpy, threadpoolctl; print(next(i['architecture'] for i in threadpoolctl.threadpool_info()))"
LOCALISED = "import locale, sys, pytest; locale.setlocale(locale.LC_ALL, ''); sys.exit(pytest.main(sys.argv[1:]))"


class NotThere(Exception):
    """Something that a way needs cannot be had."""


def base_environment():
    """That of `make`, whoever calls."""
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "TEST_THREADS"), "1")
    return (
        os.environ
        | one
        | {
            "PYTHONPATH": str(ROOT),
            "PYTHONNOUSERSITE": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTENSOR_FLAGS": "blas__ldflags=",
        }
    )


def commands(tests, start=("-m", "pytest")):
    """Arguments of Python for the tests, and for the notebooks if `chapters` is among them."""
    plain = [test for test in tests if not test.startswith("chapters")]
    books = [test for test in tests if test.startswith("chapters")]
    found = [[*start, *OPTIONS, *WITHOUT_NBVAL, *plain]] if plain else []
    return found + (
        [[*start, "-q", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env", *books]] if books else []
    )


def tried(name, tests, python=sys.executable, more=None, start=("-m", "pytest"), **options):
    """Run the tests; print what pytest says at its end and what failed; whether nothing did."""
    good = True
    for arguments in commands(tests, start):
        env = base_environment() | (more or {})
        done = subprocess.run([python, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, **options)
        lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines()[-3:] or ["nothing was said"]
        failed = [line for line in lines if re.match(r"(FAILED|ERROR) ", line)]
        print(f"{name}: {lines[-1].strip('= ')}", *failed[:20], sep="\n  ", flush=True)
        good = good and done.returncode == 0
    return good


def could_not(name, why):
    print(f"{name}: NOT TRIED: {why}", flush=True)
    return True


@contextmanager
def environment(requirements, python=sys.executable):
    """The Python of a new environment with these packages; it is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="try-") as folder, uv() as tool:
        Path(folder).chmod(0o755)
        written = Path(folder, "requirements.txt")
        written.write_text("\n".join(requirements) + "\n", encoding="utf-8")
        env = base_environment() | {"UV_PYTHON_DOWNLOADS": "never"}
        made = Path(folder, "env")
        for command in (["venv", "--python", python, made], ["pip", "install", "--python", made, "-r", written]):
            done = subprocess.run([tool, *command, "--quiet", "--no-config"], env=env, capture_output=True, text=True)
            if done.returncode:
                raise NotThere(done.stderr.strip().splitlines()[-1])
        yield made / ("Scripts" if sys.platform == "win32" else "bin") / "python"


def resolved(*arguments, requirements=None):
    """{name: version} that uv finds for some arguments of `pip compile`."""
    with tempfile.TemporaryDirectory() as folder, uv() as tool:
        source = Path(folder, "requirements.in")
        source.write_text("\n".join(requirements or []), encoding="utf-8")
        command = [tool, "pip", "compile", source if requirements else "pyproject.toml", *arguments, "--no-config"]
        command += ["--quiet", "--no-header", "--no-annotate", "--python", sys.executable]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise NotThere(done.stderr.strip().splitlines()[-1])
    return versions(pins(done.stdout))


def versions(pinned):
    return dict(pin.partition(";")[0].strip().split("==") for pin in pinned)


def locked():
    return versions(pins(LOCK.read_text(encoding="utf-8")))


def lowest(tests):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tools = [f"{name}=={locked()[name]}" for name in TOOLS]
    found = resolved("--resolution", "lowest-direct", requirements=[*project["dependencies"], *tools])
    names = [re.match(r"[\w-]+", text)[0] for text in project["dependencies"]]
    with environment([f"{name}=={version}" for name, version in found.items()]) as python:
        label = "lowest: " + ", ".join(f"{name} {found[name]}" for name in names)
        # Old versions with new ones of what they need themselves: that they warn of each other is not our business.
        return tried(label, tests, python, start=("-W", "ignore::DeprecationWarning", "-m", "pytest", *WARNED))


def latest(tests):
    found, was = resolved("--all-extras", "--upgrade"), locked()
    newer = [
        f"{name} {version}, was {was.get(name, 'not there')}"
        for name, version in found.items()
        if was.get(name) != version
    ]
    print(f"latest: {len(newer)} of {len(found)} packages are not those of requirements.lock", *newer, sep="\n  ")
    with environment([f"{name}=={version}" for name, version in found.items()]) as python:
        return tried("latest", tests, python)


def other_python(name, tests):
    with environment(pins(LOCK.read_text(encoding="utf-8")), name) as python:
        version = subprocess.run([python, "--version"], capture_output=True, text=True).stdout.strip()
        return tried(f"{version} with requirements.lock", tests, python)


def wheels(tests, lock=LOCK):
    good = True
    with tempfile.TemporaryDirectory() as folder, uv() as tool:
        command = [tool, "pip", "install", "--dry-run", "--no-config", "--quiet", "--require-hashes", "-r", lock]
        command += ["--only-binary", ":all:", "--target", Path(folder, "none"), "--python", sys.executable]
        for system in SYSTEMS:
            for version in PYTHONS:
                of = ["--python-platform", system, "--python-version", version]
                done = subprocess.run([*command, *of], capture_output=True, text=True)
                why = " ".join(done.stderr.split()) if done.returncode else "a wheel of each package"
                print(f"{system}, Python {version}: {why[:300]}", flush=True)
                good &= done.returncode == 0
    return good


def threads(tests):
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "TEST_THREADS")
    return not sum(not tried(f"{n} threads", tests, more=dict.fromkeys(names, n)) for n in ("2", "4"))


def kernels(tests):
    has_avx512 = "avx512f" in (Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else "")
    good = True
    for name in KERNELS:
        more = {"OPENBLAS_CORETYPE": name}
        asked = subprocess.run(
            [sys.executable, "-c", KERNEL], env=base_environment() | more, capture_output=True, text=True
        )
        if asked.stdout.strip().lower() != CALLED.get(name, name).lower() or (name == "SkylakeX" and not has_avx512):
            good &= could_not(f"kernel {name}", f"OpenBLAS takes {asked.stdout.strip() or 'none'} on this processor")
        else:
            good &= tried(f"kernel {name}", tests, more=more)
    return good


def locales(tests):
    good = True
    for name in LOCALES:
        more = {"LC_ALL": name}
        there = subprocess.run(
            [sys.executable, "-c", "import locale; locale.setlocale(locale.LC_ALL, '')"],
            env=base_environment() | more,
            capture_output=True,
        )
        if there.returncode:
            good &= could_not(f"locale {name}", f"it is not installed (Debian and Ubuntu: locale-gen {name})")
        else:
            good &= tried(f"locale {name}", tests, more=more, start=("-c", LOCALISED))
    return good


def user(tests):
    if not hasattr(os, "geteuid"):
        return could_not("user", "this system has no user `nobody`")
    with tempfile.TemporaryDirectory(prefix="try-") as home:
        more = {"HOME": home, "MPLCONFIGDIR": home, "TMPDIR": home, "IPYTHONDIR": home}
        if os.geteuid() != 0:
            return tried("the user who calls, who is not root", tests, more=more)
        Path(home).chmod(0o777)
        options = {"user": "nobody", "group": "nogroup" if Path("/etc/debian_version").exists() else "nobody"}
        options["extra_groups"] = []
        try:
            subprocess.run([sys.executable, "-c", ""], check=True, **options)
            return tried("nobody, who may write nothing here", tests, more=more, **options)
        except PermissionError:
            python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
        if python is None:
            return could_not("user", f"nobody may not start {sys.executable}")
        with environment(
            [f"{name}=={version}" for name, version in locked().items() if name in needed()], python
        ) as own:
            return tried(f"nobody, who may write nothing here, with {python}", tests, own, more, **options)


def needed():
    """The names of what lmmlib and the short set need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {re.match(r"[\w-]+", text)[0] for text in project["dependencies"]} | set(TOOLS)


def compiler(tests):
    with tempfile.TemporaryDirectory(prefix="try-") as folder:
        if git := shutil.which("git"):
            Path(folder, "git").symlink_to(git)
        more = {"PATH": folder, "CC": "", "CXX": "", "PYTENSOR_FLAGS": "blas__ldflags=,cxx="}
        return tried("no compiler", tests, more=more)


WAYS = {one.__name__: one for one in (lowest, latest, wheels, threads, kernels, locales, user, compiler)}


def main(way="", *tests):
    if way not in WAYS and not re.search(r"python", way):
        print(__doc__)
        return 2
    try:
        good = WAYS[way](tests or SHORT) if way in WAYS else other_python(way, tests or SHORT)
    except NotThere as error:
        print(f"{way}: NOT TRIED: {error}")
        return 1
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
