"""Posterior predictions: with known variances those of a fit, and the posterior spread of what a row has."""

import numpy as np
import pandas as pd
import pytest

import lmmlib
from lmmlib.bayes.priors import InverseGamma, InverseWishart, Priors
from lmmlib.bayes.sample import sample
from lmmlib.errors import DataError, ParameterError

FORMULA = "lead ~ week + (week | child)"


@pytest.fixture
def known(frame):
    """A fit, and draws whose variances are its estimates and leave no doubt."""
    fit = lmmlib.fit(FORMULA, frame)
    D = fit.D.to_numpy() + 0.05 * np.eye(2)  # within the space of parameters
    priors = Priors(sigma=InverseGamma(1e9, 1e9 * fit.sigma2), D=InverseWishart(1e9, 1e9 * D))
    return fit, D, sample(FORMULA, frame, priors, draws=4000, chains=5, warmup=2, rng=1)


NEW = pd.DataFrame({"week": [0.0, 2.5, 7.0, 1.0], "child": ["c0", "c3", "c3", "nobody"]}, index=[4, 3, 9, 7])


@pytest.mark.parametrize("of", ["group", "population"])
@pytest.mark.parametrize("interval", ["confidence", "prediction"])
def test_with_known_variances_they_are_those_of_mixed_model_theory(known, of, interval):
    fit, D, drawn = known
    design, cross, s2 = drawn.design, drawn.cross, fit.sigma2
    beta = lmmlib.equations.gls(cross, D, s2)
    b = lmmlib.equations.random_effects(cross, beta.beta, D, s2)
    found = drawn.predict(NEW, of=of, interval=interval, level=0.9)
    for row, (week, child) in enumerate(zip(NEW["week"], NEW["child"], strict=True)):
        x = np.array([1.0, week])
        at, error, own = x @ beta.beta, x, x @ D @ x if interval == "prediction" or of == "group" else 0.0
        if of == "group" and child in design.group_names:
            i = design.group_names.index(child)
            _, X, Z = design.group_rows(i)
            V = Z @ D @ Z.T + s2 * np.eye(len(Z))
            gain = D @ Z.T @ np.linalg.inv(V)
            at, error, own = at + x @ b[i], x - x @ gain @ X, x @ (D - gain @ Z @ D) @ x
        sd = np.sqrt(error @ beta.cov @ error + own + (s2 if interval == "prediction" else 0))
        assert abs(found["estimate"].iloc[row] - at) < 4.5 * sd / np.sqrt(20_000)
        np.testing.assert_allclose(found["se"].iloc[row], sd, rtol=0.03)
        reach = (found[["lower", "upper"]].iloc[row] - at) / sd
        np.testing.assert_allclose(reach, [-1.6449, 1.6449], atol=0.06)
    assert found["known_group"].tolist() == [True, True, True, False] and list(found.index) == list(NEW.index)


def test_shape_repeats_and_options(frame):
    drawn = sample(FORMULA, frame, draws=50, chains=2, rng=3)
    plain = drawn.predict(NEW)
    assert list(plain) == ["estimate", "se", "known_group"]
    wide = drawn.predict(NEW, interval="prediction")
    assert list(wide) == ["estimate", "se", "lower", "upper", "known_group"]
    pd.testing.assert_frame_equal(wide, drawn.predict(NEW, interval="prediction"))
    assert (wide["se"] > plain["se"]).all()
    alone = drawn.predict(NEW[["week"]], of="population")
    np.testing.assert_allclose(alone["estimate"], drawn.beta.mean(axis=(0, 1)) @ [np.ones(4), NEW["week"]])
    pd.testing.assert_frame_equal(alone, drawn.predict(NEW, of="typical").assign(known_group=False))
    with pytest.raises(DataError, match="'nobody'"):
        drawn.predict(NEW, new_groups="error")
    with pytest.raises(ParameterError, match="of is 'group' or 'typical' or 'population'; got 'conditional'"):
        drawn.predict(NEW, of="conditional")
    with pytest.raises(ParameterError, match="level"):
        drawn.predict(NEW, level=1.5)


def test_memory_is_refused_before_it_is_used(frame, monkeypatch):
    drawn = sample(FORMULA, frame, draws=50, chains=2, rng=3)
    monkeypatch.setattr("lmmlib.bayes.predict.MAX_MEMORY", 1000)
    with pytest.raises(ParameterError, match=r"4 rows from 100 draws would take .* more than 1 kB; predict fewer rows"):
        drawn.predict(NEW)


def test_offset_and_weights(frame):
    data = frame.assign(shift=np.arange(len(frame)) / 3, w=np.linspace(1, 3, len(frame)))
    design = lmmlib.build_design(FORMULA, data, offset="shift", weights="w")
    drawn = sample(design, draws=200, chains=2, rng=4)
    new = NEW.assign(shift=[1.0, 2.0, 3.0, 4.0], w=[1.0, 4.0, 1.0, 1e9])
    with_both = drawn.predict(new, interval="prediction")
    zero = drawn.predict(new, offset=np.zeros(4))
    np.testing.assert_allclose(with_both["estimate"] - zero["estimate"], new["shift"])
    added = with_both["se"] ** 2 - zero["se"] ** 2
    np.testing.assert_allclose(added, drawn.sigma2.mean() / new["w"], rtol=1e-9, atol=1e-9)


def test_no_random_effects(frame):
    drawn = sample("lead ~ week + (0 | child)", frame, draws=50, chains=2, rng=5)
    found = drawn.predict(NEW)
    np.testing.assert_allclose(found["estimate"], drawn.beta.mean(axis=(0, 1)) @ [np.ones(4), NEW["week"]])
