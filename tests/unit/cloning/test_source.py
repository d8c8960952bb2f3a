"""What clones were made from: the data and priors that were given, and the draws for each number of clones."""

import lmmlib
from lmmlib.bayes.priors import InverseGamma, Priors


def test_the_source_is_what_was_given(frame):
    priors = Priors(sigma=InverseGamma(2.0, 1.0))
    cloned = lmmlib.clone(
        "lead ~ week + (week | child)", frame, (1, 3), priors, draws=6, chains=2, warmup=3, rng=1, progress=False
    )
    source = cloned.source
    assert source.rank == 2 and source.cross.z_names == ("(Intercept)", "week")
    assert (source.design.y == lmmlib.build_design("lead ~ week + (week | child)", frame).y).all()
    assert source.priors.sigma == priors.sigma
    assert list(source.draws) == [1, 3]
    assert all(drawn.sigma2.shape == (2, 6) for drawn in source.draws.values())
    assert len({float(drawn.sigma2.mean()) for drawn in source.draws.values()}) == 2
