"""The letters of the shapes that docstrings give: one meaning each, here and in ``chapters/notation.csv``.

Words such as ``rows``, ``columns``, ``draws`` or ``some`` say what they are, and are in no table.
"""

LETTERS = {
    "p": "fixed effects, columns of X",
    "q": "random effects of a group, columns of Z",
    "k": "entries of theta, or variance parameters: the entries of D, and with them sigma2",
    "P": "all parameters of a model for counts, or of any density: fixed effects and entries of theta",
    "N": "observations",
    "n_obs": "observations, by the name of the attribute",
    "n": "groups",
    "n_groups": "groups, by the name of the attribute",
    "n_i": "observations of one group",
    "n_patterns": "groups that differ in Z_i'Z_i",
    "B": "responses on one design that are fitted together",
    "C": "chains",
    "T": "draws of a chain",
    "S": "draws of all chains, or simulated data sets, that a mixture or a bootstrap is made of",
    "K": "nodes of a quadrature",
    "r": "variances that are tested together",
    "d": "directions in which the data see no change",
}
