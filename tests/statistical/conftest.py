"""Every test of this folder is a simulation that is compared with what it should give: marked `statistical`."""

from pathlib import Path

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker("statistical")
