"""The same seed gives the same draws, and another seed others: every function that takes one."""

import inspect
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest

import lmmlib
from lmmlib.bayes import sample
from lmmlib.cloning import prediction
from lmmlib.glmm import dispersion, estimate
from lmmlib.inference import bootstrap, boundary, components, intervals, residual_plots
from lmmlib.prediction import empirical_bayes, predict
from lmmlib.residual import blocks
from lmmlib.several import predict as several_predict
from tests import modules

matplotlib.use("agg")
import matplotlib.pyplot as plt

RANDOM = {"rng", "seed", "random_state"}
# Steps that the functions below put together: they take the generator, never a seed.
STEPS = {
    *(
        "inference.bootstrap.refits",
        "inference.bootstrap.simulated",
        "bayes.chains.advance",
        "bayes.chains.beta_and_effects",
        "bayes.chains.start",
    ),
    "cloning.cloned.Cloned.posterior_of_b",
    "glmm.family.Family.simulate",
    "glmm.poisson.Poisson.simulate",
    "glmm.binomial.Binomial.simulate",
    *(
        "bayes.chains.sweep",
        "cloning.clone.run",
        "bayes.conditionals.draw_D",
        "bayes.conditionals.draw_beta",
        "bayes.conditionals.draw_effects",
    ),
    "bayes.conditionals.draw_normal",
    *(
        "bayes.conditionals.draw_sigma2",
        "equations.drawing.responses",
        "common.small.bartlett",
        "common.small.inverse_wishart_factor",
    ),
    *(
        "inference.intervals.limits",
        "bayes.conditionals.draw_rates_D",
        "bayes.noncentred.redraw_D",
    ),
    *("bayes.noncentred.standardised_effects", "prediction.errors.bootstrap_errors"),
    *(
        "common.arguments.generator",
        "prediction.errors.bootstrap_interval",
        "bayes.random_effects.draws_of_b",
        "bayes.random_effects.limits_of_b",
        "bayes.predict.predict",
        "cloning.ridge.slide",
    ),
    "bayes.scales.Scale.draw_rates",
}


@pytest.fixture(scope="module")
def dyestuff():
    return lmmlib.load("dyestuff")


@pytest.fixture(scope="module")
def null(dyestuff):
    return lmmlib.fit("Yield ~ 1 + (0 | Batch)", dyestuff, method="ML")


@pytest.fixture(scope="module")
def fit(dyestuff):
    return lmmlib.fit("Yield ~ 1 + (1 | Batch)", dyestuff, method="ML")


@pytest.fixture(scope="module")
def cloned():
    frame = lmmlib.simulate.recipe("neyman-scott-m2")
    return lmmlib.clone("y ~ 1 + (1 | group)", frame, (25, 1000), draws=100, rng=1)


@pytest.fixture(scope="module")
def visits():
    structure = lmmlib.residual.ar1("age")
    return lmmlib.fit("distance ~ age + (0 | Subject)", lmmlib.load("dental"), residual=structure)


@pytest.fixture(scope="module")
def poisson():
    return lmmlib.fit_glmm("count ~ 1 + (1 | site)", lmmlib.simulate.recipe("counts-4x2"))


@pytest.fixture(scope="module")
def crossed():
    return lmmlib.fit("diameter ~ 1 + (1 | plate) + (1 | sample)", lmmlib.load("penicillin"))


@pytest.fixture(scope="module")
def smaller():
    return lmmlib.fit("diameter ~ 1 + (1 | sample)", lmmlib.load("penicillin"))


def both(drawn):
    return np.concatenate([drawn.frame().to_numpy().ravel(), drawn.b().ravel()])


def known(cloned):
    return cloned.source, cloned.verdicts()


def rng(seed):
    return np.random.default_rng(seed)


FORMULA = "Yield ~ 1 + (1 | Batch)"
BRIEF = {"draws": 6, "chains": 2, "warmup": 3}
NEW = pd.DataFrame({"Batch": ["A", "new"]})
WALD = {"method": "bootstrap", "size": 6}
KINDS = {
    "inference.bootstrap.parametric_bootstrap": lambda s, fit: bootstrap.parametric_bootstrap(fit, 6, rng(s)).loglik,
    "inference.boundary.exact_null": lambda s, fit: boundary.exact_null(fit.cross, "ML", 40, rng(s)),
    "cloning.prediction.data_twice": lambda s, cloned: prediction.data_twice(*known(cloned), 6, rng(s)).b,
    "cloning.prediction.posterior_of_b": lambda s, cloned: prediction.posterior_of_b(*known(cloned), 6, rng(s)).b,
    "cloning.clone.clone": lambda s, dyestuff: lmmlib.clone(FORMULA, dyestuff, (1, 5), rng=s, **BRIEF).draws(),
    "cloning.with_pymc.clone_pymc": lambda s: by_pymc(s),
    "inference.compare.compare": lambda s, null, fit: (
        lmmlib.compare(null, fit, method="bootstrap", size=6, rng=rng(s)).draws
    ),
    "inference.components.variance_components": lambda s, fit: components.variance_components(fit, **WALD, rng=rng(s))[
        "upper"
    ],
    "prediction.empirical_bayes.laird_louis": lambda s, fit: empirical_bayes.laird_louis(fit, 6, rng(s)).b,
    "lmm.comparisons.compare": lambda s, crossed, smaller: (
        lmmlib.compare(smaller, crossed, method="bootstrap", size=6, rng=rng(s)).draws
    ),
    "several.predict.simulate": lambda s, crossed: several_predict.simulate(crossed, rng=rng(s)),
    "several.fit.SeveralFit.simulate": lambda s, crossed: crossed.simulate(rng=rng(s)),
    "several.fit.SeveralFit.variance_components": lambda s, crossed: crossed.variance_components(**WALD, rng=rng(s))[
        "upper"
    ],
    "cloning.gaussian.GaussianClones.data_twice": lambda s, cloned: cloned.data_twice(6, rng(s)).b,
    "cloning.gaussian.GaussianClones.random_effects": lambda s, cloned: cloned.random_effects(size=6, rng=rng(s))[
        "upper"
    ],
    "cloning.gaussian.GaussianClones.posterior_of_b": lambda s, cloned: cloned.posterior_of_b(6, rng(s)).b,
    "lmm.fit.Fit.predict": lambda s, fit: fit.predict(NEW, **WALD, rng=rng(s))["se"],
    "inference.verbs.Asked.plot_residuals": lambda s, fit: drawn_envelope(fit.plot_residuals(size=6, rng=rng(s))),
    "inference.residual_plots.plot_residuals": lambda s, fit: drawn_envelope(
        residual_plots.plot_residuals(fit, size=6, rng=rng(s))
    ),
    "inference.residual_plots.envelope": lambda s, fit: residual_plots.envelope(fit, 6, rng(s)),
    "fitting.fitted.Fitted.simulate": lambda s, fit: fit.simulate(rng=rng(s)),
    "fitting.fitted.Linear.simulate": lambda s, fit: fit.simulate(rng=rng(s)),
    "inference.verbs.Asked.confint": lambda s, visits: visits.confint(**WALD, rng=rng(s))["upper"],
    "inference.verbs.Asked.variance_components": lambda s, fit: fit.variance_components(**WALD, rng=rng(s))["upper"],
    "residual.blocks.simulate": lambda s, visits: blocks.simulate(visits, rng=rng(s)),
    "residual.fit.ResidualFit.simulate": lambda s, visits: visits.simulate(rng=rng(s)),
    "bayes.sample.sample": lambda s, dyestuff: both(sample.sample(FORMULA, dyestuff, rng=s, **BRIEF)),
    "inference.intervals.confint": lambda s, fit: intervals.confint(fit, **WALD, rng=rng(s))["upper"],
    "glmm.dispersion.overdispersion": lambda s, poisson: dispersion.overdispersion(poisson, 6, rng(s)).z,
    "glmm.estimate.simulate": lambda s, poisson: estimate.simulate(poisson, 4, rng(s)),
    "glmm.fit.GlmmFit.overdispersion": lambda s, poisson: poisson.overdispersion(6, rng=s).z,
    "glmm.fit.GlmmFit.simulate": lambda s, poisson: poisson.simulate(4, rng=rng(s)),
    "prediction.predict.predict": lambda s, fit: predict.predict(fit, NEW, **WALD, rng=rng(s))["se"],
    "bayes.priors.HalfCauchy.draw": lambda s: lmmlib.priors.HalfCauchy(2.0).draw(rng(s), 4),
    "bayes.priors.HuangWand.draw": lambda s: lmmlib.priors.HuangWand(2.0, [1.0, 2.0]).draw(rng(s), 4),
    "bayes.priors.InverseGamma.draw": lambda s: lmmlib.priors.InverseGamma(2.0, 1.0).draw(rng(s), 4),
    "bayes.priors.InverseWishart.draw": lambda s: lmmlib.priors.InverseWishart(4.0, np.eye(2)).draw(rng(s), 4),
    "bayes.priors.Normal.draw": lambda s: lmmlib.priors.Normal([0.0], [[1.0]]).draw(rng(s), 4),
    "book.simulate.counts": lambda s: lmmlib.simulate.counts(rng(s), n_groups=4, n_i=2, mu=1.0, sigma=1.0)["count"],
    "book.simulate.growth_curves": lambda s: lmmlib.simulate.growth_curves(
        rng(s), n_groups=3, times=(0, 1), beta=[1.0, 1.0], D=np.eye(2), sigma2=1.0
    )["y"],
    "equations.drawing.lmm": lambda s, fit: lmmlib.simulate.lmm(fit.design, [1.0], [[1.0]], 1.0, rng(s)),
    "book.simulate.neyman_scott": lambda s: lmmlib.simulate.neyman_scott(
        rng(s), n_groups=4, n_i=2, mu=1.0, sigma2=1.0, tau2=1.0
    )["y"],
}


def drawn_envelope(figure):
    """The corners of the envelope in a figure of residuals."""
    vertices = figure.axes[2].collections[0].get_paths()[0].vertices
    plt.close(figure)
    return vertices


def by_pymc(seed):
    """The seed that reaches the sampler, which is replaced: compiling takes long, and test_cloning_pymc does it."""
    pm, nutpie = pytest.importorskip("pymc"), pytest.importorskip("nutpie")

    def model(data, n_clones):
        with pm.Model() as m:
            mu = pm.Normal("mu", 0, 10)
            pm.Normal("y", mu, 1, observed=data["y"])
        return m

    def sampler(compiled, draws, tune, chains, cores, seed, progress_bar):
        return SimpleNamespace(posterior={"mu": pd.DataFrame(rng(seed).standard_normal((chains, draws)))})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nutpie, "compile_pymc_model", lambda model: None)
        patch.setattr(nutpie, "sample", sampler)
        return lmmlib.clone_pymc(model, {"y": np.arange(5.0)}, (1,), draws=20, rng=seed, progress=False).draws()


def takers():
    """Names of all functions and methods of lmmlib that take a seed or a generator, found by introspection."""
    for module in modules.NAMES:
        for name, value in vars(modules.load(module)).items():
            if getattr(value, "__module__", None) != f"lmmlib.{module}":
                continue
            methods = {f"{name}.{k}": f for k, f in vars(value).items()} if inspect.isclass(value) else {name: value}
            for label, function in methods.items():
                if not inspect.isfunction(function) or label.split(".")[-1].startswith("_"):
                    continue
                if RANDOM & set(inspect.signature(function).parameters):
                    yield f"{module}.{label}"


def test_every_function_that_takes_a_seed_is_here():
    assert set(takers()) - STEPS == set(KINDS)
    assert set(takers()) >= STEPS


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.filterwarnings("ignore::lmmlib.cloning.prediction.DataTwiceWarning")
def test_a_seed_fixes_the_draws_and_another_gives_others(name, request):
    draw = KINDS[name]
    inputs = {k: request.getfixturevalue(k) for k in list(inspect.signature(draw).parameters)[1:]}
    one, two, other = (np.asarray(draw(seed, **inputs), float) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other, equal_nan=True)


@pytest.mark.parametrize("name", lmmlib.simulate.RECIPES)
def test_the_seed_of_a_recipe_is_that_of_its_data(name):
    recipe = lmmlib.simulate.RECIPES[name]
    made = recipe.function(rng(recipe.seed), **recipe.parameters)
    pd.testing.assert_frame_equal(lmmlib.simulate.recipe(name), made)
    assert not made.equals(recipe.function(rng(recipe.seed + 1), **recipe.parameters))
