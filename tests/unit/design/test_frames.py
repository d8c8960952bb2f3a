"""What may be wrong with a data frame: every case is an error that names the column, or gives the right numbers."""

import decimal
import fractions

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib import build_design, equations
from lmmlib.design.frames import group_codes
from lmmlib.errors import DataError, DesignError, ParameterError

FORMULA = "y ~ x + t + (1 | g)"


@pytest.fixture
def data():
    rng = np.random.default_rng(2)
    return pd.DataFrame(
        {
            "y": rng.normal(size=24),
            "x": np.tile([1.0, 2.0, 3.0, 5.0], 6),
            "t": np.repeat(["p", "s"], 12),
            "g": np.repeat([f"g{i}" for i in range(6)], 4),
        }
    )


def value(data, formula=FORMULA, **options):
    """A number that depends on every column: the restricted log-likelihood at D = 1, sigma2 = 1."""
    return equations.restricted_loglik(lmmlib.cross_products(build_design(formula, data, **options)), 1.0, 1.0)


# ---------------------------------------------------------------- missing values


@pytest.mark.parametrize("missing", [np.nan, None, pd.NA, pd.NaT], ids=repr)
@pytest.mark.parametrize("column", ["y", "x", "t", "g"])
def test_missing_values_are_counted_or_dropped(data, column, missing):
    gaps = data.astype({column: object})
    gaps.loc[[3, 17], column] = missing
    with pytest.raises(DataError, match=rf"missing values: {column} 2 \(2 of 24 rows.*missing='drop'"):
        build_design(FORMULA, gaps)
    design = build_design(FORMULA, gaps, missing="drop")
    assert design.n_dropped == 2 and design.n_obs == 22
    assert "2 rows dropped" in repr(design)
    assert value(gaps, missing="drop") == pytest.approx(value(data.drop(index=[3, 17])), abs=1e-12)


@pytest.mark.parametrize("dtype", ["Float64", "Float32", "Int64", "boolean", "category", "string"])
def test_missing_values_of_nullable_types(data, dtype):
    column = "t" if dtype in {"category", "string"} else "x"
    start = data[column] > 2 if dtype == "boolean" else data[column]
    gaps = data.assign(**{column: start.astype(dtype)})
    gaps.loc[5, column] = np.nan if dtype == "category" else pd.NA
    with pytest.raises(DataError, match=f"missing values: {column} 1"):
        build_design(FORMULA, gaps)
    full = data.assign(**{column: start}).drop(index=5)
    assert value(gaps, missing="drop") == pytest.approx(value(full), abs=1e-12)


def test_missing_values_of_several_columns_are_counted_each(data):
    data.loc[[1, 2], "y"] = np.nan
    data.loc[[2, 3, 4], "x"] = np.nan
    with pytest.raises(DataError, match=r"y 2, x 3 \(4 of 24 rows"):
        build_design(FORMULA, data)


def test_missing_values_of_unused_columns_do_not_matter(data):
    full = value(data)
    assert value(data.assign(other=np.nan)) == full


def test_nothing_left(data):
    with pytest.raises(DataError, match="no row is complete in the columns y, x"):
        build_design(FORMULA, data.assign(x=np.nan), missing="drop")
    with pytest.raises(DataError, match="no rows"):
        build_design(FORMULA, data[:0])
    data.loc[:11, "x"] = np.nan
    with pytest.raises(DataError, match="'t' has the single category 's'"):
        build_design(FORMULA, data, missing="drop")


@pytest.mark.parametrize("missing", ["ignore", None, True], ids=repr)
def test_what_to_do_is_error_or_drop(data, missing):
    with pytest.raises(ParameterError, match="missing is 'error' or 'drop'"):
        build_design(FORMULA, data, missing=missing)


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize("column", ["y", "x"])
@pytest.mark.parametrize("infinite", [np.inf, -np.inf])
def test_infinities(data, column, infinite):
    data.loc[7, column] = infinite
    with pytest.raises(DataError, match=f"'{column}' is infinite in row 7"):
        build_design(FORMULA, data)


@pytest.mark.parametrize(
    "dtype",
    ["int64", "int8", "uint8", "float32", "float16", "Int64", "Float32", "Float64", "object", "Sparse[float64]"],
)
@pytest.mark.parametrize("column", ["y", "x"])
def test_every_type_of_number_gives_the_same_answer(data, column, dtype):
    data[column] = np.round(np.abs(data[column]) * 3)
    assert value(data.astype({column: dtype})) == pytest.approx(value(data), abs=1e-12)


@pytest.mark.parametrize("kind", [decimal.Decimal, fractions.Fraction, int, np.float64])
def test_objects_that_are_numbers(data, kind):
    assert value(data.assign(x=pd.Series([kind(int(v)) for v in data["x"]], dtype=object))) == value(data)


@pytest.mark.parametrize("dtype", [bool, "boolean", object])
def test_booleans_are_zero_and_one(data, dtype):
    flag = data["x"] > 2
    design = build_design(FORMULA, data.assign(x=flag.astype(dtype)))
    assert_allclose(design.X[:, design.x_names.index("x")], flag.astype(float))


@pytest.mark.parametrize("column", ["y", "x"])
def test_text_among_numbers(data, column):
    text = data[column].astype(str)
    with pytest.raises(DataError, match=f"'{column}' holds numbers stored as text.*pandas.to_numeric"):
        build_design(FORMULA, data.assign(**{column: text}))
    text[9] = "n/a"
    with pytest.raises(DataError, match=f"'{column}' holds text among its numbers: row 9 has 'n/a'.*to_numeric"):
        build_design(FORMULA, data.assign(**{column: text}))


UNUSABLE = {
    "datetime": pd.date_range("2020", periods=24),
    "datetime with zone": pd.date_range("2020", periods=24, tz="UTC"),
    "timedelta": pd.to_timedelta(np.arange(24), unit="D"),
    "period": pd.period_range("2020", periods=24, freq="D"),
    "complex": np.arange(24) * 1j,
    "list": [[1]] * 24,
    "dict": [{}] * 24,
}


@pytest.mark.parametrize("column", ["y", "x"])
@pytest.mark.parametrize("kind", UNUSABLE)
def test_types_that_are_neither_numbers_nor_categories(data, column, kind):
    with pytest.raises(DataError, match=f"'{column}'"):
        build_design(FORMULA, data.assign(**{column: pd.Series(UNUSABLE[kind])}))


@pytest.mark.parametrize("column", ["y", "x"])
def test_values_whose_squares_overflow(data, column):
    with pytest.raises(DataError, match="beyond 1e.150.*units"):
        build_design(FORMULA, data.assign(**{column: data[column] * 1e200}))


def test_tiny_values_are_ordinary(data):
    """x in units of 1e-200: REML moves by the log of the unit, nothing else."""
    assert value(data.assign(x=data["x"] * 1e-200)) == pytest.approx(value(data) + 200 * np.log(10), rel=1e-10)


# ---------------------------------------------------------------- categories


def test_one_category(data):
    for formula in (FORMULA, "y ~ C(t) + (1 | g)", "y ~ x + (t | g)"):
        with pytest.raises(DataError, match="'t' has the single category 'p'.*leave it out"):
            build_design(formula, data[:12])


@pytest.mark.parametrize("term", ["t", "C(t)"])
def test_unused_categories_do_not_make_columns(data, term):
    levels = pd.Categorical(data["t"], ["z", "p", "q", "s"])
    design = build_design(f"y ~ x + {term} + (1 | g)", data.assign(t=levels))
    assert design.x_names == ("(Intercept)", "x", f"{term}s")
    assert value(data.assign(t=levels), f"y ~ x + {term} + (1 | g)") == value(data)


def test_the_first_level_is_the_reference(data):
    design = build_design(FORMULA, data.assign(t=pd.Categorical(data["t"], ["s", "p"])))
    assert design.x_names[2] == "tp"
    ordered = build_design(FORMULA, data.assign(t=pd.Categorical(data["t"], ["s", "p"], ordered=True)))
    assert ordered.x_names == design.x_names


def test_a_categorical_of_numbers_stays_categorical(data):
    design = build_design("y ~ x + (1 | g)", data.assign(x=pd.Categorical(data["x"])))
    assert design.x_names == ("(Intercept)", "x2.0", "x3.0", "x5.0")


# ---------------------------------------------------------------- groups

LABELS = {
    "floats": [0.5, -1.5, 2.0, 3.0, 1e6, 0.1],
    "infinite floats": [0.5, np.inf, 2.0, 3.0, -np.inf, 0.1],
    "integers": [3, 1, 2, 9, 5, 4],
    "texts": list("fbdcae"),
    "mixed": [1, "a", 2.5, "b", 3, "c"],
    "tuples": [(1, 2), (1, 3), (2, 2), (0, 0), (5, 5), (9, 9)],
    "dates": list(pd.date_range("2020", periods=6)),
}


@pytest.mark.parametrize("kind", LABELS)
def test_group_labels_of_any_type(data, kind):
    labels = pd.Series(np.repeat(pd.Series(LABELS[kind], dtype=object).to_numpy(), 4))
    for column in (labels, labels.infer_objects()):
        design = build_design(FORMULA, data.assign(g=column))
        assert design.n_groups == 6
        assert [design.group_names[i] for i in design.group] == labels.tolist()
        assert value(data.assign(g=column)) == pytest.approx(value(data), abs=1e-12)


@pytest.mark.parametrize("dtype", ["category", "string", "Int64", "boolean"])
def test_group_labels_of_any_dtype(data, dtype):
    labels = data["g"] if dtype in {"category", "string"} else data["g"].str[1:].astype(int)
    labels = labels > 2 if dtype == "boolean" else labels
    typed = data.assign(g=labels.astype(dtype))
    assert value(typed) == pytest.approx(value(data.assign(g=labels)), abs=1e-12)
    assert set(build_design(FORMULA, typed).group_names) == set(labels)
    typed.loc[2, "g"] = pd.NA if dtype != "category" else np.nan
    with pytest.raises(DataError, match="missing values: g 1"):
        build_design(FORMULA, typed)
    assert build_design(FORMULA, typed, missing="drop").n_dropped == 1


def test_unused_group_categories_are_no_groups(data):
    design = build_design(FORMULA, data.assign(g=pd.Categorical(data["g"], [f"g{i}" for i in range(9)])))
    assert design.group_names == tuple(f"g{i}" for i in range(6))


def test_group_labels_that_cannot_be_compared(data):
    with pytest.raises(DataError, match="'g'|group labels"):
        build_design(FORMULA, data.assign(g=[[1]] * 24))


# ---------------------------------------------------------------- the frame itself


@pytest.mark.parametrize("index", [[0] * 24, [f"r{i}" for i in range(24)], range(100, 124), [None] * 24], ids=str)
def test_the_index_does_not_matter(data, index):
    assert value(data.set_axis(index, axis=0)) == value(data)


def test_a_multiindex_does_not_matter(data):
    assert value(data.set_index(["g", "t"], drop=False).rename_axis([None, None])) == value(data)


def test_column_names_twice(data):
    for column in ("x", "g"):
        with pytest.raises(DataError, match=f"two columns named '{column}'"):
            build_design(FORMULA, pd.concat([data, data[[column]]], axis=1))


def test_column_names_that_are_not_text(data):
    assert value(data.assign(**{"z": 1}).rename(columns={"z": 0})) == value(data)


@pytest.mark.parametrize(
    "frame", [None, [1], {"y": [1]}, np.ones((3, 3)), pd.Series([1.0])], ids=lambda f: type(f).__name__
)
def test_data_must_be_a_frame(frame):
    with pytest.raises(DataError, match="must be a pandas DataFrame; got"):
        build_design(FORMULA, frame)


def test_the_data_are_not_changed(data):
    typed = data.assign(x=data["x"].astype("Int64"), t=data["t"].astype("category"))
    before = typed.copy(deep=True)
    build_design(FORMULA, typed)
    pd.testing.assert_frame_equal(typed, before)


# ---------------------------------------------------------------- sizes


def test_one_row_and_one_group(data):
    with pytest.raises(DesignError, match="'x'.*linear combination"):
        equations.gls(lmmlib.cross_products(build_design("y ~ x + (1 | g)", data[:1])), 1.0, 1.0)
    design = build_design("y ~ x + (1 | g)", data.assign(g="only"))
    assert design.n_groups == 1
    assert_allclose(
        value(data.assign(g="only")),
        lmmlib.dense.restricted_loglik(build_design(FORMULA, data.assign(g="only")), 1.0, 1.0),
    )


def test_one_observation_per_group(data):
    """V is (D + sigma2) I: only the sum can be seen."""
    cross = lmmlib.cross_products(build_design(FORMULA, data.assign(g=range(24))))
    one, other = (
        equations.restricted_loglik(cross, 0.3, 1.7),
        equations.restricted_loglik(cross, 1.5, 0.5),
    )
    assert one == pytest.approx(other, abs=1e-11)


def test_groups_of_very_different_size():
    """1 and 10,000 rows: a balanced random-intercept model has closed forms for each group."""
    rng = np.random.default_rng(3)
    sizes = [1, 10_000, 2, 300]
    frame = pd.DataFrame({"g": np.repeat(range(4), sizes), "y": rng.normal(size=sum(sizes)) + 5})
    cross = lmmlib.cross_products(build_design("y ~ 1 + (1 | g)", frame.sample(frac=1, random_state=1)))
    tau2, sigma2 = 2.0, 0.5
    means, within = frame.groupby("g")["y"].mean(), frame["y"] - frame.groupby("g")["y"].transform("mean")
    weight = 1 / (tau2 + sigma2 / np.array(sizes))
    mu = weight @ means / weight.sum()
    loglik = -0.5 * (
        len(frame) * np.log(2 * np.pi)
        + (len(frame) - 4) * np.log(sigma2)
        + np.log(np.array(sizes) / weight).sum()
        + (within**2).sum() / sigma2
        + weight @ (means - mu) ** 2
    )
    assert equations.gls(cross, tau2, sigma2).beta[0] == pytest.approx(mu, rel=1e-12)
    # 10,000 rows at D / sigma2 = 4: the weighted sum is 1 / 40,000 of the plain one, which costs four digits.
    assert equations.gls(cross, tau2, sigma2).cov[0, 0] == pytest.approx(1 / weight.sum(), rel=1e-10)
    assert equations.profile_loglik(cross, tau2, sigma2) == pytest.approx(loglik, rel=1e-12)


# ---------------------------------------------------------------- backends and text


@pytest.mark.parametrize("backend", ["string", "str", "category", "string[python]", "arrow", "dictionary", "convert"])
def test_text_is_text_whatever_its_backend(data, backend):
    pa = pytest.importorskip("pyarrow") if backend in {"arrow", "dictionary"} else None
    dtype = {"arrow": pa and pd.ArrowDtype(pa.string())}.get(backend, backend)
    if backend == "dictionary":
        dtype = pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))
    typed = data.convert_dtypes() if backend == "convert" else data.astype({"t": dtype, "g": dtype})
    for formula in (FORMULA, "y ~ x * C(t) + (1 | g)", "y ~ t + (0 + t | g)", "y ~ I(t == 'p') + (1 | g)"):
        design, same = build_design(formula, typed), build_design(formula, data)
        assert design.x_names == same.x_names and design.group_names == same.group_names
        assert_allclose(design.X, same.X, rtol=0)
        assert_allclose(lmmlib.design.formula.fixed_matrix(same, typed), same.X)
        assert_allclose(lmmlib.design.formula.fixed_matrix(design, data), same.X)
    with pytest.raises(DataError, match="response 't' must be one numeric column"):
        build_design("t ~ x + (1 | g)", typed)


ODD = {
    "intervals": pd.arrays.IntervalArray.from_breaks(np.arange(25)),
    "days": pd.Series([pd.Timestamp("2020-01-01").date() + pd.Timedelta(days=k) for k in range(24)], dtype=object),
    "periods": pd.Series(list(pd.period_range("2020", periods=24)), dtype=object),
    "huge": pd.Series([10**400] * 24, dtype=object),
    "1 and '1'": pd.Series([1, "1", "a", "b"] * 6, dtype=object),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("column", ["y", "x"])
def test_columns_that_are_neither_numbers_nor_texts(data, column, kind):
    with pytest.raises(DataError, match=f"'{column}'.*(convert|units)"):
        build_design(FORMULA, data.assign(**{column: ODD[kind]}))


def test_bins_are_categories(data):
    design = build_design("y ~ x + (1 | g)", data.assign(x=pd.cut(data["x"], [0, 2, 4, 6])))
    assert design.x_names == ("(Intercept)", "x(2, 4]", "x(4, 6]")


@pytest.mark.parametrize("text", [["1,5", "2,25"], ["-1,0", "3,4"], ["1,234", "n/a"]])
def test_decimal_commas_are_no_categories(data, text):
    with pytest.raises(DataError, match=r"'x' holds numbers with commas.*row 0 has '-?1,.*decimal=','"):
        build_design(FORMULA, data.assign(x=text * 12))
    assert build_design("y ~ C(x) + (1 | g)", data.assign(x=text * 12)).n_obs == 24


def test_missing_values_of_new_rows_point_to_what_exists(data):
    """Neither predict nor fixed_matrix has an argument ``missing``."""
    design = build_design(FORMULA, data)
    with pytest.raises(DataError, match=r"missing values: x 24 .*dropna\(\)") as caught:
        lmmlib.design.formula.fixed_matrix(design, data.assign(x=np.nan))
    assert "missing=" not in str(caught.value)


@pytest.mark.parametrize("method", ["to_pandas", "collect", "compute"])
def test_a_frame_of_another_library(data, method):
    """polars is not among the packages of this book, so a class of its name stands in."""
    polars = type("DataFrame", (), {"__module__": "polars.dataframe.frame", method: lambda self: data})
    for call in (build_design, lmmlib.fit, lmmlib.fit_glmm, lmmlib.sample):
        with pytest.raises(DataError, match=rf"pandas DataFrame; got DataFrame of polars; convert.*\.{method}\(\)"):
            call(FORMULA, polars())


def test_columns_of_several_levels(data):
    with pytest.raises(DataError, match="several levels"):
        build_design(FORMULA, pd.concat({"one": data, "two": data}, axis=1))


@pytest.mark.parametrize("dtype", ["int64", "uint8", "int16"])
def test_whole_numbers_in_order_need_no_sorting(dtype):
    labels = pd.Series([0, 0, 3, 3, 3, 7, 200], dtype=dtype)
    codes, names = group_codes(labels)
    turned, same = group_codes(labels[::-1])
    assert names == same == tuple(labels.unique().tolist())
    np.testing.assert_array_equal(codes, turned[::-1])
    assert len(group_codes(labels[:0])[0]) == 0


@pytest.mark.parametrize("dtype", [object, "str", "category"])
def test_text_of_any_kind_is_one_factor(dtype):
    """Levels in alphabetical order, found among the distinct values; numbers stored as text are refused."""
    frame = pd.DataFrame({"y": [1.0, 2, 4, 3], "arm": pd.Series(["b", "a", "c", "a"], dtype=dtype), "g": [1, 1, 2, 2]})
    design = build_design("y ~ arm + (1 | g)", frame)
    assert design.x_names == ("(Intercept)", "armb", "armc")
    np.testing.assert_array_equal(design.X[:, 1:], [[1, 0], [0, 0], [0, 1], [0, 0]])
    if dtype != "category":
        with pytest.raises(DataError, match="numbers stored as text"):
            build_design("y ~ arm + (1 | g)", frame.assign(arm=pd.Series(["1", "2", "3", "4"], dtype=dtype)))
