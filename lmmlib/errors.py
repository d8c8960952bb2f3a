"""The errors of lmmlib: one root, one class per stage of the way from data to inference.

Every message says what was wrong, where (variable and value), and what to do about it. The
classes that concern an argument are also ``ValueError``, so that code which knows nothing of
lmmlib can still catch them.
"""


class LmmError(Exception):
    """Root of all errors that lmmlib raises on purpose."""


class DatasetError(LmmError):
    """A packaged data set is unknown, missing or altered."""


class DataError(LmmError, ValueError):
    """The data frame cannot be used: missing columns, missing values, infinities, text in numbers, no rows."""


class FormulaError(LmmError, ValueError):
    """The formula does not parse, or asks for what lmmlib does not do."""


class DesignError(LmmError, ValueError):
    """The design matrices do not identify what is asked: dependent columns, too few groups or rows."""


class NoRowsError(DesignError, AttributeError):
    """The rows of a fit from sums were asked for: such an attribute does not exist."""


class ParameterError(LmmError, ValueError):
    """A parameter is outside its domain or has the wrong shape; names it, its value and the remedy."""


class ReproductionError(LmmError, AssertionError):
    """A number that should agree with a printed or independently computed one does not."""
