"""The problem that shows how answers are checked."""

DECIMALS = {"pr-00-1": 2}


def pr_00_1():
    """The variance of the mean of four independent observations with variance one."""
    return 1 / 4
