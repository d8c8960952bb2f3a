# Rscript jags.R DATA.csv REPEATS: for each run the smallest effective sample size of mu, tau and sigma by coda, and
# seconds of processor time from the model to the draws; hierarchically centred, half-Cauchy priors of scale 2.5.
arguments <- commandArgs(trailingOnly = TRUE)
suppressMessages({library(rjags); library(coda)})
data <- read.csv(arguments[1])
data <- list(y = data$y, i = as.integer(factor(data$i)), N = nrow(data), n = length(unique(data$i)))
model <- "model {
  for (k in 1:N) { y[k] ~ dnorm(b[i[k]], 1 / sigma^2) }
  for (j in 1:n) { b[j] ~ dnorm(mu, 1 / tau^2) }
  mu ~ dnorm(0, 1.0E-6)
  tau ~ dt(0, 1 / 2.5^2, 1) T(0, )
  sigma ~ dt(0, 1 / 2.5^2, 1) T(0, )
}"
for (k in seq_len(as.integer(arguments[2]))) {
  begin <- sum(proc.time()[1:2])
  compiled <- jags.model(textConnection(model), data, n.chains = 3, n.adapt = 500, quiet = TRUE)
  update(compiled, 500, progress.bar = "none")
  draws <- coda.samples(compiled, c("mu", "tau", "sigma"), 5000, progress.bar = "none")
  seconds <- sum(proc.time()[1:2]) - begin
  cat(sprintf("%.9f %.9f\n", min(effectiveSize(draws)), seconds))
}
