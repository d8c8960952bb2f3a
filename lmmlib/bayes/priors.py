r"""Prior distributions of the Bayesian mixed model: frozen objects that check themselves, say themselves, and draw.

:class:`Priors` holds one for each of beta, sigma and D. All of them lead to full conditionals of known form, the
half-Cauchy and the half-t priors of standard deviations by a mixture over scales.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from lmmlib.common.arguments import checked_D, numbers
from lmmlib.common.small import inverse_wishart_factor, square
from lmmlib.design.cross import CrossProducts
from lmmlib.equations.moments import correlation
from lmmlib.errors import ParameterError

# Scales of the default priors, in residual standard deviations of least squares.
REACH = 2.5


def _positive(name: str, value: float) -> float:
    number = numbers(value, name)
    if number.size != 1 or not np.isfinite(number).all() or number.item() <= 0:
        raise ParameterError(
            f"{name} must be one finite number above 0; got {value!r}. Zero would make the prior improper; "
            "the improper priors on offer are Flat() and Reciprocal()"
        )
    return number.item()


@dataclass(frozen=True)
class Flat:
    """A constant density: of beta; of sigma; of the standard deviation of a random effect, when there is one or D is
    diagonal. Improper, so that not every data set has a posterior: see :func:`lmmlib.bayes.propriety.require_proper`.
    """


@dataclass(frozen=True)
class Reciprocal:
    r"""Density :math:`p(\sigma^2) \propto 1/\sigma^2`, constant for log sigma.

    For D, :math:`p(D) \propto |D|^{-1}`: it is always refused there, because the posterior is improper.
    """


@dataclass(frozen=True, eq=False)
class Normal:
    """Normal prior of beta.

    Attributes
    ----------
    mean : (p,) array, or a number for all
    cov : (p, p) array, or a variance for all
        Positive definite.
    """

    mean: np.ndarray | float
    cov: np.ndarray | float

    def __post_init__(self):
        mean, cov = numbers(self.mean, "mean"), numbers(self.cov, "cov")
        if mean.ndim > 1 or not np.isfinite(mean).all():
            raise ParameterError(f"mean must be one finite number, or one for each fixed effect; got {self.mean!r}")
        square_cov = np.atleast_2d(cov)
        if cov.ndim == 1 or square_cov.shape[0] != square_cov.shape[1]:
            raise ParameterError(f"cov must be a variance or a (p, p) covariance; got shape {cov.shape}")
        if _is_singular(checked_D(square_cov, len(square_cov), "cov")):
            raise ParameterError("cov must be positive definite: a fixed effect without variance is known")

    def sized(self, p: int) -> Normal:
        """The same with a mean (p,) and a covariance (p, p)."""
        mean, cov = numbers(self.mean, "mean"), numbers(self.cov, "cov")
        if mean.shape not in {(), (p,)} or cov.shape not in {(), (p, p)}:
            raise ParameterError(
                f"there are {p} fixed effects; the normal prior has a mean {mean.shape} and a covariance {cov.shape}"
            )
        return Normal(np.broadcast_to(mean, (p,)).copy(), cov * np.eye(p) if cov.ndim == 0 else cov)

    def draw(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """Draws of beta, (size, p)."""
        mean = np.atleast_1d(numbers(self.mean, "mean"))
        L = np.linalg.cholesky(self.sized(len(mean)).cov)
        return mean + rng.standard_normal((size, len(mean))) @ L.T


@dataclass(frozen=True, eq=False)
class Zellner:
    r"""Zellner's prior :math:`\beta \mid \sigma^2 \sim N(\beta_0, (\sigma^2/\delta)(X'X)^{-1})`.

    It weighs as much as delta times the data would, if there were no random effects. Equation :eq:`zellner` of the
    book.

    Attributes
    ----------
    delta : float
        Above 0; 1/N for the information of one observation.
    mean : (p,) array, or a number for all
        beta_0.
    """

    delta: float
    mean: np.ndarray | float = 0.0

    def __post_init__(self):
        _positive("delta", self.delta)
        Normal(self.mean, 1.0)

    def sized(self, p: int) -> Zellner:
        """The same with a mean (p,)."""
        return replace(self, mean=Normal(self.mean, 1.0).sized(p).mean)


@dataclass(frozen=True)
class InverseGamma:
    r"""Inverse gamma prior of a variance, density proportional to :math:`v^{-a-1}e^{-b/v}`.

    Of sigma2, or of the variance of a random effect when there is one or D is diagonal.

    Attributes
    ----------
    shape, rate : float
        a and b, above 0. The mean is b/(a - 1), infinite for a <= 1.
    """

    shape: float
    rate: float

    def __post_init__(self):
        _positive("shape", self.shape)
        _positive("rate", self.rate)

    def draw(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """Draws of the variance, (size,)."""
        return self.rate / rng.standard_gamma(self.shape, size)


@dataclass(frozen=True)
class HalfCauchy:
    r"""Half-Cauchy prior of a standard deviation, :math:`p(\sigma) \propto 1/(1 + \sigma^2/A^2)`.

    Of sigma, or of the standard deviation of a random effect when there is one or D is diagonal. The sampler uses
    equation :eq:`half-cauchy-mixture` of the book.

    Attributes
    ----------
    scale : float, optional
        A, the median. By default 2.5 times the residual standard deviation of least squares, per unit of the column.
    """

    scale: float | None = None

    def __post_init__(self):
        if self.scale is not None:
            _positive("scale", self.scale)

    def draw(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """Draws of the variance, (size,)."""
        return (_scales(self, 1)[0] * rng.standard_cauchy(size)) ** 2


@dataclass(frozen=True, eq=False)
class InverseWishart:
    r"""Inverse Wishart prior of D, density proportional to :math:`|D|^{-(\nu+q+1)/2}\exp(-\mathrm{tr}(SD^{-1})/2)`.

    Equation :eq:`inverse-wishart` of the book. When D is diagonal, each variance is inverse gamma with shape df/2 and
    rate half the diagonal entry of the scale.

    Attributes
    ----------
    df : float
        nu, above q - 1. The mean is S/(nu - q - 1); it does not exist for nu <= q + 1.
    scale : (q, q) array, or a number when q is 1
        S, positive definite.
    """

    df: float
    scale: np.ndarray | float

    def __post_init__(self):
        scale = np.atleast_2d(numbers(self.scale, "scale"))
        if _is_singular(checked_D(scale, len(scale), "scale")):
            raise ParameterError(
                f"the scale of the inverse Wishart prior must be positive definite, got {self.scale!r}: with a "
                "singular one the prior is improper, and so is the posterior"
            )
        if _positive("df", self.df) <= len(scale) - 1:
            raise ParameterError(
                f"df = {self.df:g} of the inverse Wishart prior must be above q - 1 = {len(scale) - 1}, or its "
                "density has no finite integral"
            )

    def sized(self, q: int) -> InverseWishart:
        """The same with a scale (q, q)."""
        scale = np.atleast_2d(numbers(self.scale, "scale"))
        if scale.shape != (q, q):
            raise ParameterError(f"there are {q} random columns; the inverse Wishart prior has a scale {scale.shape}")
        return replace(self, scale=scale)

    def draw(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """Draws of D, (size, q, q)."""
        scale = np.atleast_2d(numbers(self.scale, "scale"))
        many = np.broadcast_to(scale[:, :, None], (*scale.shape, size))
        return square(inverse_wishart_factor(rng, self.df, many)).transpose(2, 0, 1)


@dataclass(frozen=True, eq=False)
class HuangWand:
    r"""Prior of Huang and Wand (2013) of D: standard deviations are half-t, and correlations uniform when df is 2.

    :math:`D \mid a \sim IW(\nu + q - 1, 2\nu\,\mathrm{diag}(1/a_1, \dots, 1/a_q))` and :math:`a_k \sim IG(1/2,
    1/A_k^2)`, equation :eq:`huang-wand` of the book: each standard deviation is half-t with nu degrees of freedom and
    scale A_k. When D is diagonal, they are independent. Without a scale of your own, D is that of the random columns
    made orthogonal one after the other, with mean square one: an intercept then stands for the level at the mean of x,
    and neither origin nor unit of x, such as calendar years, changes what the prior says.

    Attributes
    ----------
    df : float
        nu; 2 makes each correlation uniform on (-1, 1), 1 and one random column give the half-Cauchy.
    scale : (q,) array, or a number for all, optional
        A_k. By default 2.5 times the residual standard deviation of least squares, for orthogonal columns.
    orthogonal : bool
        Of orthogonal columns, instead of those of the formula; not for a diagonal D. Always true by default scales.
    """

    df: float = 2.0
    scale: np.ndarray | float | None = None
    orthogonal: bool = False

    def __post_init__(self):
        _positive("df", self.df)
        if self.scale is not None:
            scale = numbers(self.scale, "scale")
            if scale.ndim > 1 or not (np.isfinite(scale) & (scale > 0)).all():
                raise ParameterError(f"scale must be above 0, one number or one for each column; got {self.scale!r}")

    def draw(self, rng: np.random.Generator, size: int, q: int | None = None) -> np.ndarray:
        """Draws of D, (size, q, q); q is needed when the scale is one number."""
        A = _scales(self, q or np.asarray(self.scale).size)
        rates = rng.standard_gamma(0.5, (len(A), size)) * A[:, None] ** 2  # 1/a
        scale = 2 * self.df * rates * np.eye(len(A))[:, :, None]
        return square(inverse_wishart_factor(rng, self.df + len(A) - 1, scale)).transpose(2, 0, 1)


@dataclass(frozen=True, eq=False)
class Priors:
    """Independent priors of beta, sigma and D; Zellner's depends on sigma.

    The defaults are weakly informative: flat for beta, half-Cauchy for sigma, Huang and Wand's for D, with scales that
    are 2.5 times what least squares leaves of the response. The scales come from the data, so that units do not
    matter; that is a second use of the data, a mild one: the scale of a prior that is half below it.

    Attributes
    ----------
    beta : Flat, Normal or Zellner
    sigma : HalfCauchy, InverseGamma, Flat or Reciprocal
    D : HuangWand or InverseWishart; with one random column, or a diagonal D, also HalfCauchy, InverseGamma or Flat
    """

    beta: Flat | Normal | Zellner = field(default_factory=Flat)
    sigma: HalfCauchy | InverseGamma | Flat | Reciprocal = field(default_factory=HalfCauchy)
    D: HuangWand | InverseWishart | HalfCauchy | InverseGamma | Flat | Reciprocal = field(default_factory=HuangWand)

    def __post_init__(self):
        allowed = {
            "beta": (Flat, Normal, Zellner),
            "sigma": (HalfCauchy, InverseGamma, Flat, Reciprocal),
            "D": (HuangWand, InverseWishart, HalfCauchy, InverseGamma, Flat, Reciprocal),
        }
        for name, kinds in allowed.items():
            if not isinstance(getattr(self, name), kinds):
                offers = ", ".join(kind.__name__ for kind in kinds)
                raise ParameterError(f"the prior of {name} must be one of {offers}; got {getattr(self, name)!r}")

    def resolved(self, cross: CrossProducts) -> Priors:
        """The same with sizes checked and default scales filled in.

        Raises
        ------
        ParameterError
            If a prior does not fit the number of columns, or is one for a single variance and D is not.
        """
        unit = REACH * residual_sd(cross)
        beta = self.beta if isinstance(self.beta, Flat) else self.beta.sized(len(cross.x_names))
        sigma = HalfCauchy(_default(unit)) if self.sigma == HalfCauchy() else self.sigma
        return Priors(beta, sigma, self._resolved_D(cross, unit) if cross.z_names else self.D)

    def _resolved_D(self, cross: CrossProducts, unit: float) -> HuangWand | InverseWishart | Flat | Reciprocal:
        """The prior of D; what is a prior of one variance as one of the matrices of which it is a case."""
        D, q = self.D, len(cross.z_names)
        single = q == 1 or cross.diagonal
        if isinstance(D, HalfCauchy | InverseGamma | Flat) and not single:
            raise ParameterError(
                f"{type(D).__name__} is a prior of one variance, and D has {q} rows; use HuangWand or "
                "InverseWishart, or (x || g) for a diagonal D"
            )
        if isinstance(D, HalfCauchy):
            D = HuangWand(1.0, D.scale)
        if isinstance(D, HuangWand):
            scale = D.scale
            if scale is None:
                scale = _default(unit) / (cross.basis.z_size if single else 1)
            orthogonal = not single and (D.orthogonal or D.scale is None)
            return HuangWand(D.df, _scales(HuangWand(D.df, scale), q), orthogonal)
        if isinstance(D, InverseGamma):
            return InverseWishart(2 * D.shape, 2 * D.rate * np.eye(q))
        return D.sized(q) if isinstance(D, InverseWishart) else D


def _default(unit: float) -> float:
    if unit > 0:
        return float(unit)
    raise ParameterError("least squares fits the response exactly, so there is no default scale; give the priors one")


def _scales(prior: HalfCauchy | HuangWand, q: int) -> np.ndarray:
    """The scales A_k, (q,)."""
    if prior.scale is None:
        raise ParameterError(
            f"the scale of {type(prior).__name__} comes from the data; give one to draw from the prior"
        )
    scale = numbers(prior.scale, "scale")
    if scale.shape not in {(), (q,)}:
        raise ParameterError(f"there are {q} random columns; {type(prior).__name__} has {scale.size} scales")
    return np.broadcast_to(scale, (q,)).copy()


def _is_singular(cov: np.ndarray) -> bool:
    """Whether a covariance matrix has no inverse, whatever the units."""
    return bool(np.linalg.eigvalsh(np.nan_to_num(correlation(cov))).min(initial=1) < 1e-12)


def residual_sd(cross: CrossProducts) -> float:
    """Residual standard deviation of least squares on X, groups ignored."""
    w, p = cross.work, len(cross.x_names)
    explained = float(w.Xty @ np.linalg.lstsq(w.XtX, w.Xty, rcond=None)[0]) if p else 0.0
    return float(np.sqrt(max(w.yty - explained, 0.0) / max(cross.n_obs - p, 1)))
