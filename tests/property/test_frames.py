"""Random types of columns, indices and labels: the numbers of the frame in float64, or an lmmlib error."""

import decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.errors import DataError

N = 40
rng = np.random.default_rng(5)
PLAIN = pd.DataFrame(
    {
        "y": rng.integers(2, 90, N),
        "x": np.tile([1, 2, 3, 5, 100], N // 5),
        "b": rng.uniform(size=N) > 0.5,
        "t": np.tile(["p", "s"], N // 2),
        "g": np.repeat(np.arange(8), N // 8),
    }
)
PLAIN["x"] = PLAIN["x"].to_numpy() + rng.integers(0, 3, N)
WHOLE = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "longdouble"]
NULLABLE = ["Int8", "Int64", "UInt8", "Float32", "Float64", "Sparse[float64]", "Sparse[int64]"]
ARROW = ["int8[pyarrow]", "uint8[pyarrow]", "int64[pyarrow]", "float[pyarrow]", "double[pyarrow]", "decimal"]
NUMBER = st.sampled_from([*WHOLE, *NULLABLE, *ARROW, "object", "Decimal", "float64"])
TEXT = st.sampled_from(
    ["object", "str", "string", "string[python]", "string[pyarrow]", "arrow", "dictionary", "category"]
)
LOGICAL = st.sampled_from(["bool", "boolean", "bool[pyarrow]", "object", "int8", "uint8", "float64"])
INDEX = {
    "range": lambda: pd.RangeIndex(N),
    "twice": lambda: pd.Index([7] * N),
    "texts": lambda: pd.Index([f"r{i % 5}" for i in range(N)]),
    "dates": lambda: pd.date_range("2020", periods=N),
    "backwards": lambda: pd.RangeIndex(N, 0, -1),
    "two levels": lambda: pd.MultiIndex.from_product([range(4), range(N // 4)], names=["y", "x"]),
    "missing": lambda: pd.Index([None] * N),
}
LABELS = {
    "integers": lambda g: g,
    "uint8": lambda g: g.astype("uint8"),
    "floats": lambda g: g / 2,
    "texts": lambda g: g.map("g{}".format),
    "arrow": lambda g: g.map("g{}".format).astype("string[pyarrow]"),
    "categories": lambda g: pd.Categorical(g, range(10)),
    "tuples": lambda g: g.map(lambda i: (i // 3, i % 3)),
    "dates": lambda g: pd.Timestamp("2020") + pd.to_timedelta(g, unit="D"),
    "intervals": lambda g: pd.cut(g, np.arange(-0.5, 8)),
    "nullable": lambda g: g.astype("Int64"),
}


def typed(column: pd.Series, dtype: str) -> pd.Series:
    if "arrow" in dtype or dtype in {"decimal", "dictionary"}:
        pa = pytest.importorskip("pyarrow")
        own = {"decimal": lambda: pa.decimal128(12, 3), "arrow": pa.string}
        own["dictionary"] = lambda: pa.dictionary(pa.int32(), pa.string())
        dtype = pd.ArrowDtype(own[dtype]()) if dtype in own else dtype
        if isinstance(dtype, pd.ArrowDtype) and pa.types.is_decimal(dtype.pyarrow_dtype):
            column = pd.Series([decimal.Decimal(int(v)) for v in column], dtype=object)
    if dtype == "Decimal":
        return pd.Series([decimal.Decimal(int(v)) for v in column], dtype=object)
    return column.astype(dtype)


@st.composite
def frames(draw):
    """A frame of random types, and its twin of floats and objects."""
    frame = PLAIN.copy()
    for name, kinds in {"y": NUMBER, "x": NUMBER, "b": LOGICAL, "t": TEXT}.items():
        frame[name] = typed(PLAIN[name], draw(kinds))
    frame["g"] = LABELS[draw(st.sampled_from(sorted(LABELS)))](PLAIN["g"])
    twin = PLAIN.astype({"y": float, "x": float, "b": float, "t": object})
    return frame.set_axis(INDEX[draw(st.sampled_from(sorted(INDEX)))](), axis=0), twin


FORMULAS = st.sampled_from(
    [
        "y ~ x + t + (1 | g)",
        "y ~ x*b + I(x**2) + (1 | g)",
        "I(y * x) ~ I(x**3) + t:b + (1 | g)",
        "y ~ I(b + b) + I(x - 200) + (0 + x | g)",
        "I(y - 100) ~ C(t, levels=['s', 'p']) * x + (1 | g)",
        "y ~ I((x > 2) + (t == 'p')) + scale(x) + (1 | g)",
        "y ~ C(b) + poly(x, 2) + (I(x*x) || g)",
    ]
)


@pytest.mark.slow
@given(frames(), FORMULAS)
def test_the_fit_is_that_of_floats(pair, formula):
    frame, twin = pair
    fit, same = lmmlib.fit(formula, frame), lmmlib.fit(formula, twin)
    assert_allclose(fit.design.X, same.design.X, rtol=1e-12, atol=1e-12)
    assert_allclose(fit.design.Z, same.design.Z, rtol=1e-12, atol=1e-12)
    assert_allclose(fit.design.y, same.design.y, rtol=1e-12)
    assert_allclose(fit.beta, same.beta, rtol=1e-12)
    assert_allclose(fit.sigma2, same.sigma2, rtol=1e-12)
    assert_allclose(fit.predict(frame)["estimate"], same.predict(twin)["estimate"], rtol=1e-12)
    assert fit.predict(frame)["known_group"].all() and fit.predict(frame).index.equals(frame.index)
    part = frame.iloc[[5, 30]]
    assert_allclose(fit.predict(part)["estimate"], same.predict(twin.iloc[[5, 30]])["estimate"], rtol=1e-12)


@given(frames())
def test_counts_and_samples_too(pair):
    frame, twin = pair
    formula = "y ~ x + t + b + (1 | g)"
    fit, same = lmmlib.fit_glmm(formula, frame), lmmlib.fit_glmm(formula, twin)
    assert_allclose(fit.beta, same.beta, rtol=1e-12)
    ours, theirs = (lmmlib.sample(formula, f, draws=6, warmup=2, chains=2, rng=1) for f in (frame, twin))
    assert_allclose(ours.beta, theirs.beta, rtol=1e-12)


@given(st.sampled_from(["y", "x", "t", "g", "b"]), st.integers(0, N - 1), frames())
def test_a_missing_value_is_named_or_dropped(name, row, pair):
    frame, twin = pair
    gaps = frame.reset_index(drop=True)
    gaps[name] = gaps[name].astype(object).where(np.arange(N) != row, None)
    with pytest.raises(DataError, match=f"missing values: {name} 1 "):
        lmmlib.build_design("y ~ x*b + t + (1 | g)", gaps)
    design = lmmlib.build_design("y ~ x*b + t + (1 | g)", gaps, missing="drop")
    expected = lmmlib.build_design("y ~ x*b + t + (1 | g)", twin.drop(index=row))
    assert_allclose(design.X, expected.X, rtol=1e-12)
    assert_allclose(design.y, expected.y, rtol=1e-12)
