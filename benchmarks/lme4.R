# Rscript lme4.R DATA.csv FORMULA REPEATS [NODES]: seconds of each REML fit at lme4's default settings, one a line, then
# the REML criterion. With NODES of quadrature: of Poisson fits by glmer, then minus twice the log-likelihood. Reading the
# data is not timed; the first fit is not counted.
arguments <- commandArgs(trailingOnly = TRUE)
suppressMessages(library(lme4))
data <- read.csv(arguments[1])
data[[1]] <- factor(data[[1]])
model <- as.formula(arguments[2])
nodes <- as.integer(arguments[4])
for (k in 0:as.integer(arguments[3])) {
  begin <- Sys.time()
  fitted <- suppressMessages(suppressWarnings(
    if (is.na(nodes)) lmer(model, data) else glmer(model, data, family = poisson, nAGQ = nodes)
  ))
  seconds <- as.numeric(Sys.time() - begin, units = "secs")
  if (k > 0) cat(sprintf("%.9f\n", seconds))
}
cat(sprintf("%.15g\n", -2 * as.numeric(logLik(fitted))))
