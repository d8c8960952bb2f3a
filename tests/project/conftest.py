"""The small designs of the unit tests."""

from tests.unit.conftest import D, cross, design, frame, many

__all__ = ["D", "cross", "design", "frame", "many"]
