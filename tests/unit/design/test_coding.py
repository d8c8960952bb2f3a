"""Codings and chunks of rows: how they become columns, what their sums add up to, what does not fit together."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose

import lmmlib
from lmmlib.design import coding as design_coding
from lmmlib.errors import DataError, DesignError, FormulaError, ParameterError
from lmmlib.lmm import chunked
from tests.unit.design.pieces import FORMULA, LEVELS, agree, by_chunks, chunks


def test_chunks_without_a_level(tlc):
    """Sorted by arm, most chunks hold one arm only, and so does the example."""
    rows = tlc.sort_values("treatment", kind="stable")
    assert rows[:50]["treatment"].nunique() == 1
    agree(by_chunks(FORMULA, rows, rows[:50], LEVELS), lmmlib.fit(FORMULA, tlc))


def test_first_level_is_the_reference(tlc):
    other = by_chunks(FORMULA, tlc, tlc[:50], {"treatment": ["succimer", "placebo"]})
    assert list(other.beta.index)[2] == "treatmentplacebo"
    assert_allclose(other.beta["treatmentplacebo"], -lmmlib.fit(FORMULA, tlc).beta["treatmentsuccimer"], rtol=1e-8)


def test_levels_of_a_coded_column_of_numbers(tlc):
    formula = "lead ~ C(week) + (1 | id)"
    rows = tlc.sort_values("week", kind="stable")
    ours = by_chunks(formula, rows, rows[:50], {"week": [0, 1, 4, 6]})
    agree(ours, lmmlib.fit(formula, tlc))


def test_transformations_that_look_at_the_data_are_those_of_the_example(tlc):
    """Another basis of the same model: the same likelihood and fitted means, by ML."""
    ours = by_chunks("lead ~ center(week) + (1 | id)", tlc, tlc[:40], method="ML")
    full = lmmlib.fit("lead ~ week + (1 | id)", tlc, method="ML")
    assert_allclose(ours.loglik, full.loglik, rtol=1e-11)
    assert_allclose(ours.beta["center(week)"], full.beta["week"], rtol=1e-8)


def test_merge_is_the_sum(tlc, coding):
    parts = [design_coding.chunk_sums(coding, c) for c in chunks(tlc)]
    merged, added = design_coding.merge(parts), parts[0]
    for part in parts[1:]:
        added = added + part
    full = lmmlib.cross_products(lmmlib.build_design(FORMULA, tlc))
    assert merged.group_names == full.group_names
    order = [added.group_names.index(name) for name in merged.group_names]
    for key in ("ZtZ", "ZtX", "Zty", "XtX", "Xty", "yty"):
        value = getattr(merged, key)
        assert_allclose(value, getattr(full, key), rtol=1e-11, atol=1e-9)
        other = getattr(added, key)
        assert_allclose(value, other[order] if key.startswith("Zt") else other, rtol=1e-11, atol=1e-9)
    assert (merged.n_i == full.n_i).all() and merged.n_obs == len(tlc)


def test_merge_leaves_its_parts_alone(tlc, coding):
    parts = [design_coding.chunk_sums(coding, c) for c in chunks(tlc)[:2]]
    before = [(p.XtX.copy(), p.ZtZ.copy(), p.n_i.copy()) for p in parts]
    design_coding.merge(parts)
    for part, (XtX, ZtZ, n_i) in zip(parts, before, strict=True):
        assert (part.XtX == XtX).all() and (part.ZtZ == ZtZ).all() and (part.n_i == n_i).all()


def test_merge_of_merged(tlc, coding):
    parts = [design_coding.chunk_sums(coding, c) for c in chunks(tlc)]
    tree = design_coding.merge([design_coding.merge(parts[:4]), design_coding.merge(parts[4:])])
    agree(chunked.fit_sums(coding, tree), lmmlib.fit(FORMULA, tlc))


def test_merge_of_parts_in_different_bases(tlc):
    parts = [lmmlib.cross_products(lmmlib.build_design(FORMULA, c)) for c in chunks(tlc, 80)]
    assert not np.allclose(parts[0].basis.Rx, parts[1].basis.Rx)
    full = lmmlib.cross_products(lmmlib.build_design(FORMULA, tlc))
    merged = design_coding.merge(parts)
    assert_allclose(merged.XtX, full.XtX, rtol=1e-11, atol=1e-9)
    assert_allclose(merged.Zty, full.Zty, rtol=1e-11, atol=1e-9)


def test_sums_of_weighted_rows_merge_too(tlc):
    """The logarithms of the weights add up, as a + b adds them."""
    w = np.random.default_rng(5).uniform(1, 3, len(tlc))
    design = lmmlib.build_design(FORMULA, tlc, weights=w)
    parts = [lmmlib.cross_products(design.take(rows)) for rows in (slice(100), slice(100, None))]
    for together in (design_coding.merge(parts), parts[0] + parts[1]):
        assert_allclose(together.log_weights, np.log(w).sum(), rtol=1e-12)
        assert_allclose(together.XtX, lmmlib.cross_products(design).XtX, rtol=1e-11)


def test_entries_of_all_groups_lie_side_by_side_however_the_sums_are_made(tlc, coding):
    design = lmmlib.build_design(FORMULA, tlc)
    whole, parts = lmmlib.cross_products(design), [design_coding.chunk_sums(coding, c) for c in chunks(tlc)]
    ways = {
        "cross_products": whole,
        "+": whole + whole,
        "of a fit": lmmlib.fit_design(design).cross,
        "with_response": lmmlib.cross_products(design.with_response(design.y[::-1])),
        "chunk_sums": parts[0],
        "merge": design_coding.merge(parts),
        "fit_sums": chunked.fit_sums(coding, design_coding.merge(parts)).cross,
    }
    for way, cross in ways.items():
        strides = [getattr(cross.work, key).strides[0] for key in ("ZtZ", "ZtX", "Zty")]
        assert strides == [8, 8, 8], way
        assert cross.patterns[0].strides[0] == 8 and cross.ZtZ.strides[0] == 8, way


def test_coding_can_be_sent(tlc, coding):
    there = pickle.loads(pickle.dumps(coding))
    a, b = (design_coding.chunk_sums(code, tlc[:100]) for code in (coding, there))
    assert (a.XtX == b.XtX).all() and (a.ZtZ == b.ZtZ).all()
    assert repr(there) == repr(coding)
    assert not hasattr(coding, "y") and getattr(coding, "X", None) is None  # Dask looks at all fields
    assert "treatmentsuccimer" in repr(coding) and "rows" not in repr(coding)


def test_no_rows_and_dropped_rows(tlc, coding):
    gaps = tlc.copy()
    gaps.loc[::9, "lead"] = np.nan
    parts = [design_coding.chunk_sums(coding, c, missing="drop") for c in chunks(gaps)]
    parts.insert(0, design_coding.chunk_sums(coding, gaps[:0]))
    parts.append(design_coding.chunk_sums(coding, gaps[::9], missing="drop"))
    agree(chunked.fit_sums(coding, design_coding.merge(parts)), lmmlib.fit(FORMULA, gaps, missing="drop"))
    with pytest.raises(DesignError, match="no sums to merge"):
        design_coding.merge(iter(parts[:1]))


def test_bad_chunks_are_named(tlc, coding):
    unknown = tlc[:20].assign(treatment="surgery")
    with pytest.raises(DataError, match="chunk 3: column 'treatment' has the category 'surgery'.*it has "):
        design_coding.chunk_sums(coding, unknown, name="chunk 3")
    with pytest.raises(DataError, match="part-07.csv: .*uses 'week', which is not a column"):
        design_coding.chunk_sums(coding, tlc.drop(columns="week"), name="part-07.csv")
    gap = tlc[:20].copy()
    gap.iloc[4, gap.columns.get_loc("lead")] = np.nan
    with pytest.raises(DataError, match=r"chunk 1: missing values: lead 1 \(1 of 20"):
        design_coding.chunk_sums(coding, gap, name="chunk 1")
    infinite = tlc[:20].assign(lead=np.inf)
    with pytest.raises(DataError, match="chunk 1: column 'lead' is infinite in row 0"):
        design_coding.chunk_sums(coding, infinite, name="chunk 1")
    text = tlc[:20].assign(week=[*tlc["week"][:19].astype(str), "six"])
    with pytest.raises(DataError, match="chunk 1: column 'week' holds text among its numbers: row 19 has 'six'"):
        design_coding.chunk_sums(coding, text, name="chunk 1")
    label = tlc[:20].assign(id=[*tlc["id"][:19], None])
    with pytest.raises(DataError, match="chunk 1: missing values: id 1"):
        design_coding.chunk_sums(coding, label, name="chunk 1")
    with pytest.raises(DataError, match="chunk 1: .*must be one numeric column"):
        design_coding.chunk_sums(coding, tlc[:3].assign(lead=["low", "high", "low"]), name="chunk 1")


def test_groups_of_two_kinds(tlc, coding):
    parts = [design_coding.chunk_sums(coding, c) for c in (tlc[:50], tlc[50:90].assign(id=tlc["id"].astype(str)))]
    with pytest.raises(DataError, match="part 1 are of the kind string .*part 0 of the kind number"):
        design_coding.merge(parts)
    whole = design_coding.chunk_sums(coding, tlc[50:90].assign(id=tlc["id"].astype(float)))
    assert design_coding.merge([parts[0], whole]).n_groups == tlc[:90]["id"].nunique()


def test_parts_and_codings_that_differ(tlc, coding):
    other = design_coding.coding("lead ~ week + (1 | id)", tlc[:50])
    parts = [design_coding.chunk_sums(code, tlc) for code in (coding, other)]
    with pytest.raises(DesignError, match="part 1 has the columns .*one coding"):
        design_coding.merge(parts)
    with pytest.raises(DesignError, match="another coding"):
        chunked.fit_sums(other, parts[0])


def test_bad_codings(tlc):
    with pytest.raises(ParameterError, match="'treatement', which is not a column"):
        design_coding.coding(FORMULA, tlc[:50], {"treatement": ["a"]})
    with pytest.raises(ParameterError, match="leaves out 'succimer'"):
        design_coding.coding(FORMULA, tlc[:50], {"treatment": ["placebo", "surgery"]})
    with pytest.raises(ParameterError, match=r"'week', a column of numbers; write C\(week\)"):
        design_coding.coding(FORMULA, tlc[:50], {"week": [0, 1, 4, 6]})
    with pytest.raises(DesignError, match="no random term"):
        design_coding.coding("lead ~ week", tlc[:50])
    with pytest.raises(FormulaError, match="depends on all rows"):
        design_coding.coding("center(lead) ~ week + (1 | id)", tlc[:50])
    with pytest.raises(DataError, match="no rows"):
        design_coding.coding(FORMULA, tlc[:0], LEVELS)
