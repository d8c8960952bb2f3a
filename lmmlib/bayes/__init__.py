"""The Gibbs sampler: priors, full conditionals, chains, draws."""
