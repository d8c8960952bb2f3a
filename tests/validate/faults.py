"""The faults that `make validate` plants, such as a careless author or maintainer makes.

Each finds its place by what stands there, or draws one of all places of its kind with a seed, so that modules and
chapters may move. One that no longer finds its place is an error of this list: write it anew.
"""

import hashlib
import json
import re

from tests.notebooks.conftest import load_tool
from tests.validate.plant import NBVAL, Fault, PlaceNotFound, one_of

LIBRARY = "lmmlib/*.py"
LOCKED = ("tests/equations/test_lock.py::test_the_book_is_as_locked",)
NUMBERS = ("tests/notebooks/test_numbers.py",)
FIGURES = ("tests/notebooks/test_figures.py",)
FACTS = ("tests/project/test_data_facts.py",)
RULES = ("tests/notebooks/test_chapters.py",)
quoted = load_tool("quoted")


def text(pattern, old, new):
    return lambda tree: tree.text(pattern, old, new)


def code(name, old, new, check):
    """A changed line of lmmlib; checks are in tests/."""
    return Fault("code", name, text(LIBRARY, old, new), (f"tests/{check}",))


CODE = [
    code(
        "the intraclass correlation upside down",
        "return tau2 / (tau2 + checked_sigma2(sigma2))",
        "return checked_sigma2(sigma2) / (tau2 + sigma2)",
        "equations/test_moments.py::test_icc",
    ),
    code(
        "a sign in Woodbury's identity",
        "(np.eye(len(Z)) - ZL @",
        "(np.eye(len(Z)) + ZL @",
        "equations/test_moments.py::test_woodbury",
    ),
    code(
        "log sigma2 times n_i for n_i - q",
        "(n_i - q) * np.log(sigma2)",
        "n_i * np.log(sigma2)",
        "equations/test_moments.py::test_woodbury",
    ),
    code(
        "a factor 2 lost in the information",
        "trace - 2 * d.QX",
        "trace - d.QX",
        "equations/test_reml.py::test_reml_information",
    ),
    code(
        "what D takes of V left out of the derivative by sigma2",
        "change[-1, :-1] = -alpha / sigma2",
        "change[-1, :-1] = 0.0",
        "equations/test_gls.py::test_information_variance",
    ),
    code(
        "the residual variance left out",
        "z, checked_D(D, z.shape[1]), z) + checked_sigma2(sigma2)",
        "z, checked_D(D, z.shape[1]), z)",
        "equations/test_moments.py::test_functions_of_time",
    ),
    code(
        "an early stop that explains nothing",
        "passed &= rounds_to(printed, stopped)",
        "pass",
        "unit/book/test_ledger.py",
    ),
    code(
        "one-sided quantile in a band",
        "p = (1 + checked_level(level)) / 2\n    return np.where",
        "p = checked_level(level)\n    return np.where",
        "equations/test_inference.py::test_mean_band",
    ),
    code(
        "limits of rows tested together without their df",
        "reach = half_width(level, df) * se",
        "reach = half_width(level, df if len(L) == 1 else np.inf) * se",
        "unit/equations/test_wald_tests.py::test_rows_that_are_tested_together_have_the_limits_of_each_alone",
    ),
    code(
        "df of pooled rows by their number",
        "return 2.0\n    total",
        "return float(len(each))\n    total",
        "unit/equations/test_degrees.py::test_a_direction_of_at_most_two_df_leaves_two_in_all",
    ),
    code(
        "standard deviation with n for n - 1",
        "np.std(ratios, ddof=1)",
        "np.std(ratios)",
        "unit/glmm/test_dispersion.py::test_simulated_z_and_p_by_hand",
    ),
    code(
        "last chunk of the null law too long",
        "chunk = min(CHUNK, size - first)",
        "chunk = CHUNK",
        "project/test_chunk_sizes.py",
    ),
    code(
        "failed refits counted in the Monte Carlo error",
        "mcse = float(np.sqrt(p * (1 - p) / len(draws)))",
        "mcse = float(np.sqrt(p * (1 - p) / (len(draws) + n_failed)))",
        "project/test_failed_refits.py",
    ),
    code(
        "failed refits kept",
        "good = np.flatnonzero(~fits.failed)\n    if not",
        "good = np.arange(len(fits.failed))\n    if not",
        "project/test_failed_refits.py",
    ),
    code("the seed does not reach PyMC", "cores=1, seed=rng, progress", "cores=1, progress", "project/test_seeds.py"),
    code(
        "variance of effects about zero",
        "shift = mean.mean(axis=1)  #",
        "shift = 0 * mean.mean(axis=1)  #",
        "unit/bayes/test_random_effects.py::test_effects_far_from_zero_keep_their_sd",
    ),
    code(
        "one variable not thinned for ArviZ",
        '"sigma2": self.sigma2[:, ::thin]}',
        '"sigma2": self.sigma2[:, : len(self.sigma2[0, ::thin])]}',
        "unit/bayes/test_draws.py::test_thinned_draws_are_the_same_ones_in_every_variable",
    ),
    code(
        "a Hessian whose units matter",
        "unit = 1 / np.sqrt(np.where(own, size, rest or 1.0))",
        "unit = np.ones(len(size))",
        "unit/glmm/test_intervals.py",
    ),
    code(
        "the fourth cumulant of successes with a factor 3 for 6",
        "variance * (1 - 6 * p * (1 - p))",
        "variance * (1 - 3 * p * (1 - p))",
        "unit/glmm/test_binomial.py::test_cumulants_are_derivatives_of_the_log_density",
    ),
    code(
        "successes that are all of the trials taken for some",
        "(self.y == self.size).astype(float) - (self.y == 0)",
        "-(self.y == 0).astype(float)",
        "unit/glmm/test_binomial.py::test_separation_is_named_on_both_sides",
    ),
    code(
        "the determinant of the fixed effects left out of a restricted likelihood",
        "np.linalg.slogdet(-H[:p, :p])[1] / 2 + p / 2",
        "0.0 + p / 2",
        "unit/glmm/test_restricted.py",
    ),
    code(
        "a quantile looked for at the wrong place of those near it",
        "(at * (len(x) - 1) - np.count_nonzero(x < low))",
        "(at * len(x) - np.count_nonzero(x <= low))",
        "unit/inference/test_effect_tables.py::test_quantiles_of_many_values_are_those_of_all",
    ),
    code(
        "the restricted likelihood of several groupings in another basis of X",
        "self.reml * (pivots.sum() + 2 * sums.cross.basis.logdet_x)",
        "self.reml * pivots.sum()",
        "unit/several/test_criterion.py::test_value_beta_and_residual_are_those_of_the_full_matrix",
    ),
    code(
        "maximum likelihood of several groupings with the traces of the restricted one",
        "inner = self.reml * self.N @ self.N.T",
        "inner = self.N @ self.N.T",
        "unit/several/test_criterion.py::test_gradient_and_hessian_are_differences",
    ),
    code(
        "traces of two groupings on one side of the diagonal only",
        "T[r, at[j + 1]] = T[at[j + 1], r] = np",
        "T[at[j + 1], r] = np",
        "unit/several/test_criterion.py::test_gradient_and_hessian_are_differences",
    ),
    code(
        "pairs that meet counted by how often",
        "    pattern.data[:] = 1.0\n",
        "",
        "property/test_several.py::test_a_sparse_part_gives_the_same_fit",
    ),
    code(
        "a trace of a sparse part without the relationship of the groups",
        "np.tensordot(AX, X, ([0, 2], [0, 2]))",
        "np.tensordot(X, X, ([0, 2], [0, 2]))",
        "unit/several/test_criterion.py::test_a_sparse_part_is_the_full_one",
    ),
    code(
        "Henderson's rules without the inbreeding of parents",
        "own[i] -= A[parent, parent] / 4",
        "own[i] -= 1 / 4",
        "unit/several/test_relationship.py::test_a_pedigree",
    ),
    code(
        "the log-determinant of a relationship matrix that is that of its inverse",
        "logdet = -2 * float(np.log(np.diag(half)).sum())",
        "logdet = 2 * float(np.log(np.diag(half)).sum())",
        "unit/several/test_relationship.py::test_a_matrix",
    ),
    code(
        "predictions of relatives by the order of the records",
        "design = replace(term.design, group=g.codes, group_names=g.names)",
        "design = term.design",
        "unit/several/test_predict.py::test_relatives_without_a_record_are_known_groups",
    ),
    code(
        "what X takes of the residual variance forgotten",
        "taken[r, -1] = taken[-1, r] = plain[r, -1] - (c * Ec[r]).sum()",
        "taken[r, -1] = taken[-1, r] = plain[r, -1]",
        "unit/several/test_identify.py::test_inner_products_are_traces",
    ),
    code(
        "groups of one row that are not told from the residuals",
        "np.bincount(g.codes).max() <= g.q",
        "np.bincount(g.codes).max() < g.q",
        "unit/several/test_identify.py::test_what_is_not_identified_is_named",
    ),
    code(
        "degrees of freedom without what sigma2 does to each D",
        "change[:-1, -1], change[-1, -1] = entries(self.state), 1.0",
        "change[-1, -1] = 1.0",
        "unit/several/test_fitted.py::test_degrees_of_freedom_are_those_of_the_full_information",
    ),
    code(
        "a new level predicted as if its effect were known",
        'if interval == "prediction" or of == "group":\n                D = fit',
        'if interval == "prediction":\n                D = fit',
        "unit/several/test_predict.py::test_predictions_for_known_and_new_groups",
    ),
    code(
        "weeks counted as visits",
        "positions = _in_steps(times, step, origin)",
        "positions = np.arange(len(times)) * 1.0",
        "unit/residual/test_visits.py::test_times_in_steps",
    ),
    code(
        "half of a second derivative of a free covariance",
        '"kac,ab,lbc->kl", B, G + G.T, B',
        '"kac,ab,lbc->kl", B, G, B',
        "unit/residual/test_structures.py::test_derivatives",
    ),
    code(
        "Kenward and Roger's correction without second derivatives",
        "bend[batch.of] @ X, ([0, 1], [0, 1])) / 4",
        "0 * bend[batch.of] @ X, ([0, 1], [0, 1])) / 4",
        "unit/residual/test_fitted.py::test_degrees_of_freedom_by_full_matrices",
    ),
    code(
        "one covariance for the groups of both arms",
        "np.column_stack([visits.cell[group], visits.code[rows], Z",
        "np.column_stack([visits.code[rows], Z",
        "unit/residual/test_patterns.py::test_patterns_differ_in_Z_and_in_cells",
    ),
    code(
        "a visit that was seen predicted from its own residual",
        "beside = np.where(again[:, None], 0.0, beside)",
        "beside = np.where(again[:, None], 1.0 * beside, beside)",
        "unit/residual/test_predict.py::test_a_visit_that_was_seen_is_its_mean",
    ),
    code(
        "nested models compared where their correlations differ",
        "_covariances(fit1, rows, np.zeros(1) if rho is None else rho)",
        "_covariances(fit1, rows, None)",
        "unit/residual/test_nested.py::test_residual_covariances",
    ),
    code(
        "a profile that leaves out a sigma of zero",
        "self.attained = (self._rows.regular, False)",
        "pass",
        "unit/several/test_held.py::test_limits_of_an_animal_model",
    ),
    code(
        "a criterion of full matrices whose curvature by rho is that by its square alone",
        "bend[-1, -1] += 2 * slope[-1]",
        "pass",
        "unit/several/test_whole.py::test_derivatives_by_rho",
    ),
    code(
        "a correlation that has turned taken for the one that is held",
        "found if not self._turned(point)]",
        "found]",
        "unit/inference/test_profile.py::test_of_one_grouping_all_profiles_are_those_of_a_fit",
    ),
    code(
        "a group of several groupings left out with its rows of the inverse alone",
        "- UL @ state.B.solve(UL.T)",
        "- 0 * UL @ state.B.solve(UL.T)",
        "unit/inference/test_influence.py::test_groups_of_several_groupings",
    ),
    code(
        "estimated variances that are felt through the random effects alone",
        "total += side + np.swapaxes(side, 1, 2) + d",
        "total += d",
        "unit/residual/test_corrected.py::test_predictions",
    ),
    code(
        "the deviance of successes without its factor 2",
        "np.maximum(-2 * self.log_density(logit(",
        "np.maximum(-self.log_density(logit(",
        "unit/glmm/test_binomial.py::test_deviance_is_twice_the_gap_to_the_saturated_model",
    ),
    code(
        "the standard error of a mean over groups on the scale of the typical one",
        "by_eta / (up * down), by_variance / (up * down)",
        "by_eta, by_variance",
        "unit/glmm/test_binomial.py::test_the_mean_over_all_groups_is_an_integral",
    ),
    code(
        "a restricted likelihood that knows its variances",
        "cov[:p, :p] += np.linalg.inv(-H[:p, :p])",
        "cov[:p, :p] = np.linalg.inv(-H[:p, :p])",
        "unit/glmm/test_restricted.py::test_it_is_laplace_with_the_fixed_effects_among_the_random_ones",
    ),
    code(
        "responses between the ends that say nothing of separation",
        "X[~ends].T @ X[~ends]",
        "0 * X[~ends].T @ X[~ends]",
        "unit/glmm/test_checks.py::test_separation_names_the_column_and_a_row",
    ),
    code(
        "random effects of both signs in a group taken for endless ones",
        "side[used].all() and not signs.all(axis=1).any()",
        "side[used].all()",
        "unit/glmm/test_checks.py::test_a_group_with_both_signs_bounds_the_variance",
    ),
    code(
        "modes that are guessed from another place",
        "move = psi - known",
        "move = known - psi",
        "unit/glmm/test_objective.py::test_guesses_follow_the_slopes_of_the_modes",
    ),
    code(
        "a family by another's name",
        '"poisson": Poisson, "binomial": Binomial',
        '"poisson": Poisson, "binomial": Poisson',
        "unit/glmm/test_families.py",
    ),
]

# --- mathematics ---

EQUATION = re.compile(r"\$\$(?P<body>(?:(?!\$\$).)+?)\$\$\s*\((?P<label>[\w-]+)\)", re.S)
THEOREM = re.compile(r"^(?P<fence>:{3,})\{prf:(?!proof)\w+\}(?P<body>.*?)^(?P=fence)\s*$", re.S | re.M)


def statement(seed, pattern, old, new, label=""):
    """Change the first `old` of one of the equations, or theorems, that have it."""

    def plant(tree):
        places = [
            (path, cell["id"], match.span("body"))
            for path, _, cell in tree.cells("markdown")
            for match in pattern.finditer(cell["source"])
            if old in match["body"] and label in match[0]
        ]
        path, found, (start, end) = one_of(seed, places)
        for other, notebook, cell in tree.cells("markdown"):
            if (other, cell["id"]) == (path, found):
                source = cell["source"]
                cell["source"] = source[:start] + source[start:end].replace(old, new, 1) + source[end:]
                tree.save(path, notebook)
                return

    return plant


STATEMENTS = [
    ("a plus is a minus", 1, EQUATION, " + ", " - "),
    ("a minus is a plus", 2, EQUATION, " - ", " + "),
    ("a fraction upside down", 3, EQUATION, r"\frac{\tau^2}", r"\frac{\sigma^2}"),
    ("a hat is lost", 4, EQUATION, r"\hat\beta", r"\beta"),
    ("a transpose is lost", 5, EQUATION, "X_i'", "X_i"),
    ("an inverse is lost", 6, EQUATION, "V^{-1}", "V"),
    ("the restricted log-likelihood's sign", 7, EQUATION, "-", "+", "(restricted-loglik)"),
    ("an inequality reversed", 8, THEOREM, r"\ge", r"\le"),
    ("another inequality reversed", 9, THEOREM, r"\le", r"\ge"),
    ("for all is for some", 10, THEOREM, "every", "some"),
    ("a sign in a theorem", 11, THEOREM, " - ", " + "),
]
MATHEMATICS = [Fault("mathematics", name, statement(*where), LOCKED) for name, *where in STATEMENTS]
IN_GLOSSARY = ("tests/equations/test_lock.py::test_glossary_says_what_the_equations_say",)
GLOSSARY = "chapters/glossary.md"
MATHEMATICS += [
    Fault("glossary", "the ICC upside down", text(GLOSSARY, r"$\frac{\tau^2}", r"$\frac{\sigma^2}"), IN_GLOSSARY),
    Fault(
        "glossary",
        "a sign under the fraction of the ICC",
        text(GLOSSARY, r"{\tau^2 + \sigma^2}", r"{\tau^2 - \sigma^2}"),
        IN_GLOSSARY,
    ),
]

# --- numbers and words of the text ---


def sentences(tree):
    """(path, id of the cell, sentence, its decimals) of sentences that stand in one line of Markdown as they are."""
    for path, _, cell in tree.cells("markdown"):
        for sentence in quoted.sentences(cell["source"]):
            numbers = quoted.DECIMAL.findall(sentence)
            if numbers and sentence in cell["source"]:
                yield path, cell["id"], sentence, numbers


def sentence(seed, change):
    """Change a sentence that quotes decimals; `change` returns it changed, or None where it does not apply."""

    def plant(tree):
        places = [
            (path, one, changed) for path, _, one, numbers in sentences(tree) if (changed := change(one, numbers))
        ]
        path, old, new = one_of(seed, places)
        for other, notebook, cell in tree.cells("markdown"):
            if other == path and old in cell["source"]:
                cell["source"] = cell["source"].replace(old, new, 1)
                tree.save(path, notebook)
                return

    return plant


def digit(one, numbers):
    number = numbers[-1]
    return one.replace(number, number[:-1] + str((int(number[-1]) + 1) % 10), 1)


def point(one, numbers):
    number = numbers[0]
    whole, _, rest = number.partition(".")
    return one.replace(number, f"{whole}{rest[0]}.{rest[1:]}", 1) if len(rest) > 1 else None


def swapped(one, numbers):
    if len(set(numbers)) < 2:
        return None
    first, second = numbers[0], next(n for n in numbers if n != numbers[0])
    return one.replace(first, "\0", 1).replace(second, first, 1).replace("\0", second, 1)


def other_word(pairs):
    both = dict(pairs) | {b: a for a, b in pairs}
    pattern = re.compile(rf"\b({'|'.join(both)})\b")
    return lambda one, numbers: pattern.sub(lambda m: both[m[0]], one, count=1) if pattern.search(one) else None


PROSE = [
    ("a digit", 1, digit),
    ("a digit elsewhere", 2, digit),
    ("a decimal point that moved", 3, point),
    ("two numbers in each other's place", 4, swapped),
    ("placebo and succimer beside a number", 5, other_word([("placebo", "succimer")])),
    ("more and less beside a number", 6, other_word([("more", "less"), ("larger", "smaller"), ("above", "below")])),
]
TEXT = [Fault("number in prose", name, sentence(seed, change), NUMBERS) for name, seed, change in PROSE]

# --- figures ---


def words(figure, part, old, new):
    """Change the caption or the alternative text ("figure", "caption") of a figure."""

    def plant(tree):
        for path, notebook, cell in tree.cells("code"):
            settings = cell["metadata"].get("mystnb", {})
            if settings.get("figure", {}).get("name") == figure and old in settings[part[0]][part[1]]:
                settings[part[0]][part[1]] = settings[part[0]][part[1]].replace(old, new, 1)
                tree.save(path, notebook)
                return
        raise PlaceNotFound(f"{figure} has no {old!r} in its {part[1]}")

    return plant


CAPTION, ALT = ("figure", "caption"), ("image", "alt")
WORDS = [
    ("a caption says which is dashed", "fig-remedy", CAPTION, "(dashed, circles)", "(solid, circles)"),
    ("left and right in a caption", "fig-remedy", CAPTION, "Left: the residual", "Right: the residual"),
    ("an alternative text counts panels", "fig-spaghetti", ALT, "Two panels", "Three panels"),
    ("a curve that falls is said to rise", "fig-effective-size", ALT, "curves fall", "curves rise"),
    ("a number in a caption", "fig-week-correlation", CAPTION, "0.76 to 0.87", "0.67 to 0.87"),
]
TEXT += [Fault("caption", name, words(*where), NUMBERS if "number" in name else FIGURES) for name, *where in WORDS]


def redrawn(old, new):
    """Change the code of a figure and execute its chapter, as an author does."""
    return lambda tree: tree.execute(tree.cell(old, new))


SPAGHETTI = 'arm = tlc[tlc["treatment"] == name]\n    plots.spaghetti('
DRAWN = [
    (
        "a wrong unit on an axis",
        'ylabel="residual (µg/dL)",\n       xlabel="children',
        'ylabel="residual (mm)",\n       xlabel="children',
    ),
    (
        "placebo children in the succimer panel",
        SPAGHETTI,
        SPAGHETTI.replace("== name", '== "placebo"'),
    ),
    (
        "the arms' panels in each other's place",
        SPAGHETTI,
        SPAGHETTI.replace("== name", "!= name"),
    ),
    (
        "the arms' colours swapped",
        'label="mean of the arm",\n                    colour=plots.LEVELS[name].colour)',
        None,
    ),
    ("a line is missing", 'ax.plot(np.arange(100), child_means, "-", color="black"', None),
    ("a level line in another place", "for height in (-limit, limit):", "for height in (-limit, 0.5 * limit):"),
]
DRAWN[3] = (
    *DRAWN[3][:2],
    DRAWN[3][1].replace("LEVELS[name]", 'LEVELS["succimer" if name == "placebo" else "placebo"]'),
)
DRAWN[4] = (*DRAWN[4][:2], DRAWN[4][1].replace("np.arange(100), child_means", "[], []"))
PICTURES = [Fault("figure", name, redrawn(old, new), FIGURES) for name, old, new in DRAWN]
TABLES = ("tests/notebooks/test_tables.py::test_the_lock_agrees",)
IN_EACH_ARM, ROWS = (
    "Mean blood lead (µg/dL), 50 children in each arm",
    '["one line for all", "one intercept per child"]',
)
PICTURES += [
    Fault("table", "a wrong unit in a caption", redrawn(IN_EACH_ARM, IN_EACH_ARM.replace("µg/dL", "mm")), TABLES),
    Fault(
        "table",
        "rows in each other's place",
        redrawn('{"model": ' + ROWS, '{"model": ["one intercept per child", "one line for all"]'),
        TABLES,
    ),
]

# --- stored outputs and cells ---


def printed(old, change, only=""):
    """Falsify the stored output of the cell that holds a piece of source, and compare its notebook by nbval."""

    def plant(tree):
        for path, notebook, cell in tree.cells("code"):
            if old in cell["source"]:
                change(cell)
                tree.save(path, notebook)
                return () if only else (*NBVAL, path.relative_to(tree.folder).as_posix())
        raise PlaceNotFound(f"no cell has {old!r}")

    return plant


def other_digit(cell):
    """The last digit of the last decimal of the text that the cell has stored."""
    for output in cell["outputs"]:
        holder = output if "text" in output else output["data"]
        key = "text" if "text" in output else "text/plain"
        shown = "".join(holder[key])
        *_, last = re.finditer(r"\d+\.\d+", shown)
        shown = shown[: last.end() - 1] + str((int(shown[last.end() - 1]) + 1) % 10) + shown[last.end() :]
        holder[key] = shown.splitlines(keepends=True)


def a_row_less(cell):
    for output in cell["outputs"]:
        holder = output if "text" in output else output["data"]
        key = "text" if "text" in output else "text/plain"
        holder[key] = "".join(holder[key]).splitlines(keepends=True)[:-1]


def ignored(cell):
    other_digit(cell)
    cell["metadata"]["tags"] = [*cell["metadata"].get("tags", []), "nbval-ignore-output"]


def by_comment(cell):
    other_digit(cell)
    cell["source"] = "# NBVAL_IGNORE_OUTPUT\n" + cell["source"]


def never_executed(cell):
    cell["outputs"], cell["execution_count"] = [], None


FRONT = 'report.show("100,000 groups, one mean each, all within"'
TWO_SAMPLE = "def two_sample(a, b):"
OUTPUTS = [
    Fault("output", "a digit that was printed", printed(FRONT, other_digit)),
    Fault("output", "a line that was printed", printed(FRONT, a_row_less)),
    Fault("output", "a digit of a figure's contents", printed("ends = []\nfor seed in range(1, 9):", other_digit)),
    Fault("output", "a digit of a table", printed(TWO_SAMPLE, other_digit)),
    Fault("ignored cell", "falsified and tagged", printed(TWO_SAMPLE, ignored, only="rules"), RULES),
    Fault("ignored cell", "falsified, with a comment", printed(TWO_SAMPLE, by_comment, only="rules"), RULES),
    Fault("ignored cell", "never executed", printed(TWO_SAMPLE, never_executed, only="rules"), RULES),
]

# --- solutions, and the tables of other programs ---

SOLUTION = re.compile(r":{3,}\{solution-start\}.*?\n:{3,}(?P<body>.*?)(?=:{3,}\{solution-end\}|\Z)", re.S)


def next_digit(found):
    return found[0][:-1] + str((int(found[0][-1]) + 1) % 10)


def solution(seed, find, change):
    """Change what `find` finds in the text of a solution."""

    def plant(tree):
        places = [
            (path, cell["id"], match.start("body"), found)
            for path, _, cell in tree.cells("markdown")
            for match in SOLUTION.finditer(cell["source"])
            if (found := find(match["body"]))
        ]
        path, name, start, found = one_of(seed, places)
        for other, notebook, cell in tree.cells("markdown"):
            if (other, cell["id"]) == (path, name):
                at, source = start + found.start(), cell["source"]
                cell["source"] = source[:at] + change(found) + source[start + found.end() :]
                tree.save(path, notebook)
                return

    return plant


SOLUTIONS = ("tests/notebooks/test_solutions.py",)
COMING = ("tests/notebooks/test_coming_from.py",)
FACTOR = re.compile(r"\\sqrt|\bhalf\b|\btwice\b")
EXERCISES = [
    Fault(
        "solution",
        "a root, half or twice is another word",
        solution(2, FACTOR.search, lambda found: {"half": "twice", "twice": "half"}.get(found[0], "2\\cdot")),
        (f"{SOLUTIONS[0]}::test_the_lock_agrees",),
    ),
    Fault(
        "solution",
        "a decimal of a solution",
        solution(1, lambda body: quoted.DECIMAL.search(body), next_digit),
        SOLUTIONS,
    ),
    Fault(
        "coming from",
        "sigma(m) is said to be sigma2",
        lambda tree: tree.cell("| `sigma(m)` | `np.sqrt(f.sigma2)` |", "| `sigma(m)` | `f.sigma2` |", "markdown"),
        COMING,
    ),
    Fault(
        "coming from",
        "logLik(m) is said to be the criterion",
        lambda tree: tree.cell(
            "`deviance(m)` | `f.loglik`, `f.criterion` |", "`deviance(m)` | `f.criterion`, `f.loglik` |", "markdown"
        ),
        COMING,
    ),
]

# --- data ---


def data(name, change, known=True):
    """Change the lines of a data file; with ``known`` the checksum is renewed wherever it stands."""

    def plant(tree):
        path = tree.folder / "data" / f"{name}.csv"
        old = path.read_bytes()
        lines = old.decode().splitlines()
        new = ("\n".join(change(lines)) + "\n").encode()
        if new == old:
            raise PlaceNotFound(f"nothing to change in {name}.csv")
        path.write_bytes(new)
        before, after = (hashlib.sha256(content).hexdigest() for content in (old, new))
        if known:
            tree.text("data/README.md", before, after)
            tree.text(LIBRARY, before, after)

    return plant


def relabelled(lines):
    return [line.replace("59,progabide", "59,placebo") for line in lines]


def two_patients(lines):
    """Two patients change arms: the sizes of the arms stay."""
    return [line.replace("28,placebo", "28,progabide").replace("29,progabide", "29,placebo") for line in lines]


def in_seconds(lines):
    head, *rows = lines
    return [head, *(f"{float(row.split(',')[0]) / 1000:.6f},{row.partition(',')[2]}" for row in rows)]


def one_value(lines):
    return [*lines[:7], re.sub(r"\d(?=\D*$)", "9", lines[7]), *lines[8:]]


DATA = [
    Fault("data", "a patient relabelled", data("seizures", relabelled), FACTS),
    Fault("data", "two patients change arms", data("seizures", two_patients), FACTS),
    Fault("data", "seconds for milliseconds", data("sleep", in_seconds), FACTS),
    Fault("data", "the unit on the data page", text("data/README.md", "| float | ms |", "| float | s |"), FACTS),
    Fault(
        "data", "a count changed", data("seizures", lambda lines: [*lines[:3], lines[3][:-1] + "9", *lines[4:]]), FACTS
    ),
    Fault(
        "data",
        "a value changed, its checksum kept",
        data("tlc", one_value, known=False),
        ("tests/unit/book/test_datasets.py",),
    ),
    Fault(
        "data",
        "a stop in the ledger that is not what was printed",
        data("published", lambda lines: [line.replace(",2.32735911817632,", ",2.32755911817632,") for line in lines]),
        ("tests/unit/book/test_ledger.py",),
    ),
    Fault(
        "data",
        "the optimum in the ledger, a digit off",
        data("published", lambda lines: [line.replace(",4.50141758241758,", ",4.50141758341758,") for line in lines]),
        ("tests/oracle/test_ledger_optima.py",),
    ),
]

# --- stored answers, tolerances, bibliography ---


def scaled(file, part=lambda stored: stored):
    """All numbers of a part of a stored answer times 1.01."""

    def times(value):
        if isinstance(value, dict):
            return {key: times(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [times(inner) for inner in value]
        return value * 1.01 if isinstance(value, float) else value

    def plant(tree):
        path = tree.folder / "tests/reference" / file
        stored = json.loads(path.read_text(encoding="utf-8"))
        inner = part(stored)
        for key in inner:
            inner[key] = times(inner[key])
        path.write_text(json.dumps(stored), encoding="utf-8")

    return plant


LEAVES = "tests/oracle/test_leaves.py::test_"
REFERENCES = [
    Fault("reference", "a fit of lme4", scaled("dyestuff_reml.json"), (f"{LEAVES}lme4",)),
    Fault("reference", "a fit of nlme", scaled("nlme_fits.json", lambda fits: fits[0]), (f"{LEAVES}nlme",)),
    Fault("reference", "an exact optimum", scaled("exact/tlc_week_ml.json"), (f"{LEAVES}exact",)),
    Fault(
        "reference",
        "a prediction of lme4",
        scaled("inference/inference.json", lambda parts: parts["predict_sleepstudy"]),
        (f"{LEAVES}predictions",),
    ),
]
TOLERANCES = ("tests/project/test_tolerances.py",)
ENTRIES = ("tests/project/test_bibliography.py",)
YEAR = ("{Neyman, Jerzy", "year    = {1948}")
MORE = [
    Fault(
        "tolerance", "a named one loosened", text("tests/tolerances.py", "OPTIMUM = 1e-7", "OPTIMUM = 1e-4"), TOLERANCES
    ),
    Fault(
        "tolerance",
        "a literal in a test",
        text("tests/oracle/test_fit_exact.py", 'fit.exact["sigma2"], rtol=1e-7)', 'fit.exact["sigma2"], rtol=1e-4)'),
        TOLERANCES,
    ),
    Fault("bibliography", "a year", text("references.bib", "year    = {1948}", "year    = {1949}"), ENTRIES),
    Fault("bibliography", "a DOI cut short", text("references.bib", "{10.2307/1914288}", "{10.2307}"), ENTRIES),
    Fault(
        "bibliography",
        "a citation of what is not there",
        lambda tree: tree.text("references.bib", "@article{neyman-scott-1948,", "@article{scott-neyman-1948,"),
        ENTRIES,
    ),
    Fault(
        "machinery",
        "a build that first deletes the book",
        text(
            "chapters/_tools/build.py",
            "folder.mkdir(exist_ok=True)\n",
            "folder.mkdir(exist_ok=True)\n    shutil.rmtree(folder / 'html', ignore_errors=True)\n",
        ),
        ("tests/project/test_build.py",),
    ),
    Fault(
        "machinery",
        "a chapter written in place",
        text("chapters/_tools/execute.py", "replace_text(path, after)", "path.write_text(after)"),
        ("tests/project/test_replacing.py", "tests/notebooks/test_execute.py"),
    ),
    Fault(
        "machinery",
        "a notebook that a reader changed, written over",
        text("chapters/_tools/lab.py", "changed.append(name)\n            continue", "changed.append(name)"),
        ("tests/project/test_lab.py",),
    ),
    Fault(
        "machinery",
        "an answer that is open in the plain notebook",
        text("chapters/_tools/portable.py", '"dropdown" in node["classes"]', '"folded" in node["classes"]'),
        ("tests/project/test_portable.py",),
    ),
    Fault(
        "machinery",
        "an error that is not the package's",
        text(LIBRARY, 'raise ParameterError(f"X_new must be rows', 'raise ValueError(f"X_new must be rows'),
        ("tests/project/test_raises.py",),
    ),
]


def renamed_label(tree):
    """An equation's label is renamed; what refers to it is not."""
    return tree.cell("$$ (gls-estimator)", "$$ (gls-estimate)", "markdown")


MORE += [
    Fault("link", "a label renamed", renamed_label, ("tests/equations/test_lock.py",)),
    Fault(
        "link",
        "a label used twice",
        lambda tree: tree.cell("$$ (gls-estimator)", "$$ (gls-covariance)", "markdown"),
        ("tests/notebooks/test_chapters.py::test_labels_are_unique",),
    ),
    Fault(
        "link",
        "a link of the README",
        text("README.md", "](CITATION.cff)", "](CITATION.bib)"),
        ("tests/project/test_readme.py",),
    ),
]

TRUST = [
    Fault(
        "trust",
        "a run with an error is stored",
        text("chapters/_tools/checked.py", 'verdict in ("failure", "error")', 'verdict in ("failure",)'),
        ("tests/project/test_checked.py::test_a_failure_is_named",),
    ),
    Fault(
        "trust",
        "a number by hand on the page of checks",
        text("chapters/checked.md", "**Proofs** are read", "**Proofs** (of 120 theorems) are read"),
        ("tests/project/test_checked.py::test_the_page_names_no_number_by_hand",),
    ),
    Fault(
        "trust",
        "an archive in the order of the disk",
        text("chapters/_tools/release.py", "for name in sorted(files):", "for name in files:"),
        ("tests/project/test_release.py::test_an_archive_depends_on_its_files_alone",),
    ),
    Fault(
        "trust",
        "a workflow that may write",
        text(".github/workflows/weekly.yml", "contents: read", "contents: write"),
        ("tests/project/test_workflows.py::test_only_the_pages_may_write_and_only_where_they_are_switched_on",),
    ),
]

PAGE = [
    Fault(
        "page",
        "a subscript that is the next one",
        text("chapters/_tools/print_forms.py", "0x2080 + int(i)", "0x2081 + int(i)"),
        ("tests/book/test_print_forms.py::test_names_become_symbols",),
    ),
    Fault(
        "page",
        "a need of a need in the map of chapters",
        text("chapters/_tools/front_page.py", "if not any(a in all_below(b)", "if all(a in all_below(b)"),
        ("tests/book/test_front_page.py::test_a_need_of_a_need_is_not_drawn",),
    ),
    Fault(
        "page",
        "a style for what is used taken out",
        text("chapters/_tools/assets.py", "return all(name in words", "return not all(name in words"),
        ("tests/book/test_assets.py::test_a_sheet_keeps_what_is_used",),
    ),
]

FAULTS = [*CODE, *MATHEMATICS, *TEXT, *PICTURES, *OUTPUTS, *EXERCISES, *DATA, *REFERENCES, *MORE, *TRUST, *PAGE]
