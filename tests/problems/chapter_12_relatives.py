"""Solutions of the problems on relatives, of chapter 12: litters as families, and a young bull."""

import numpy as np
import pandas as pd

import lmmlib

DECIMALS = {"pr-12-6": 3, "pr-12-7a": 3, "pr-12-7b": 2}


def pr_12_6():
    """The heritability that the litters would have, if pups of a litter were alike by their genes alone.

    (a) Full sibs by unrelated parents have A = 1 on the diagonal and 1/2 beside it, so that two pups of a litter have
    the covariance sigma_a^2/2 and a pup the variance sigma_a^2 + sigma^2: those of the random intercept model with
    tau^2 = sigma_a^2/2 and residual variance sigma_a^2/2 + sigma^2. Different litters have none in both.

    (b) h^2 = sigma_a^2/(sigma_a^2 + sigma^2) = 2 tau^2/(tau^2 + sigma_e^2), twice the intraclass correlation.

    (c) Litter-mates have shared a womb and a nest. That is part of tau^2 too, and nothing in these data tells it from
    genes: h^2 is at most this. Fostered pups, or two litters of one father, would tell. Sires are better here than
    dams, since half-sibs by a sire share no nest.
    """
    pups = lmmlib.load("ratpup")
    fixed = "weight ~ treatment + sex + size"
    litters = lmmlib.fit(f"{fixed} + (1 | litter)", pups)
    tau2, sigma_e2 = litters.D.iloc[0, 0], litters.sigma2
    pups["pup"] = range(len(pups))
    parents = pd.DataFrame(
        {"sire": "sire " + pups["litter"].astype(str), "dam": "dam " + pups["litter"].astype(str)}, dtype=object
    )
    animal = lmmlib.fit(f"{fixed} + (1 | pup)", pups, relationship={"pup": parents})
    np.testing.assert_allclose(animal.loglik, litters.loglik, rtol=1e-9)
    np.testing.assert_allclose(animal.D[0].iloc[0, 0], 2 * tau2, rtol=1e-6)
    np.testing.assert_allclose(animal.sigma2, sigma_e2 - tau2, rtol=1e-6)
    return 2 * tau2 / (tau2 + sigma_e2)


def sources(h2=0.25, daughters=40):
    """Relationships among 40 half-sisters, the sire, the dam and the young bull; who has a record."""
    n = daughters + 3
    A = np.eye(n)
    sire, dam, young = n - 3, n - 2, n - 1
    A[:daughters, :daughters] += 0.25 * (1 - np.eye(daughters))
    A[sire, :daughters] = A[:daughters, sire] = 0.5
    A[young, :] = (A[sire] + A[dam]) / 2
    A[:, young] = A[young]
    A[young, young] = 1.0
    seen = [*range(daughters), dam]
    return A, seen, (1 - h2) / h2


def pr_12_7a():
    """Reliability of a young bull by his parents: a quarter of the sum of theirs.

    (a) Without own records and without children a = (a_s + a_d)/2 in hats (`thm-three-sources`). Sire and dam are
    unrelated and have different records, so their predictions are independent, with variances r_s^2 and r_d^2 times
    sigma_a^2: Var(hat a) = (r_s^2 + r_d^2) sigma_a^2/4, and that over sigma_a^2 is the reliability. Neither can be
    more than 1, so it is at most a half: the rest is Mendelian sampling.

    (b) k = 15: r_s^2 = 40/55, r_d^2 = h^2 = 0.25 by exercise 12.9, so (0.727 + 0.25)/4 = 0.244.
    """
    A, seen, ratio = sources()
    young = len(A) - 1
    V = A[np.ix_(seen, seen)] + ratio * np.eye(len(seen))
    found = A[young, seen] @ np.linalg.solve(V, A[seen, young])
    np.testing.assert_allclose(found, (40 / 55 + 0.25) / 4)
    return found


def pr_12_7b():
    """Gain a year by genes over that by progeny tests.

    (c) Gain of a generation i r sigma_a, over its length: sqrt(0.6)/2.5 = 0.310 by genes; progeny tests of 60 daughters
    have r = sqrt(60/75) = 0.894, over 6.5 years 0.138; the pedigree alone sqrt(0.244)/2.5 = 0.198. So genes gain 2.25
    times as much as progeny tests, though these know the bulls better; and even the pedigree gains more. (d) But
    sons of the same sire have one half of their predictions in common, so that whole families are chosen and inbreeding
    rises; i is smaller, since candidates within a family are alike; and the formula is for the first round.
    """
    return (np.sqrt(0.6) / 2.5) / (np.sqrt(60 / 75) / 6.5)
