# The lead trial with arms that are equal at week 0, by nlme: Rscript constrained.R beside data/tlc.csv writes
# constrained.json. R 4.2.2, nlme 3.1-162.
library(nlme)
d <- read.csv("tlc.csv"); d$w <- factor(d$week); d$visit <- as.integer(d$w)
for (k in c(1, 4, 6)) d[[paste0("after", k)]] <- as.numeric(d$week == k & d$treatment == "succimer")
ctl <- list(tolerance = 1e-10, msTol = 1e-12, msMaxIter = 500, maxIter = 500, returnObject = TRUE)
f <- lead ~ w + after1 + after4 + after6
models <- list(
  intercept = function(m) lme(f, random = ~ 1 | id, data = d, method = m, control = ctl),
  by = function(m) lme(f, random = ~ 1 | id, weights = varIdent(form = ~ 1 | w), data = d, method = m, control = ctl),
  compound = function(m) gls(f, correlation = corCompSymm(form = ~ 1 | id), data = d, method = m, control = ctl),
  ar1 = function(m) gls(f, correlation = corAR1(form = ~ week | id), data = d, method = m, control = ctl),
  ar1_intercept = function(m) lme(f, random = ~ 1 | id, correlation = corAR1(form = ~ week | id), data = d, method = m, control = ctl),
  unstructured = function(m) gls(f, correlation = corSymm(form = ~ visit | id), weights = varIdent(form = ~ 1 | w), data = d, method = m, control = ctl))
num <- function(x) paste0("[", paste(sprintf("%.10g", x), collapse = ", "), "]")
out <- c()
for (name in names(models)) for (m in c("ML", "REML")) {
  a <- models[[name]](m)
  beta <- if (inherits(a, "lme")) fixef(a) else coef(a)
  V <- vcov(a)
  # vcov of gls by ML is that of REML's residual variance; of lme, varFix is without a correction.
  if (inherits(a, "lme")) V <- a$varFix else if (m == "ML") V <- V * (nrow(d) - length(beta)) / nrow(d)
  out <- c(out, sprintf('  {"model": "%s", "method": "%s", "loglik": %.12g,\n   "effects": %s,\n   "se": %s}', name, m, as.numeric(logLik(a)), num(beta[5:7]), num(sqrt(diag(V))[5:7])))
}
writeLines(c("[", paste(out, collapse = ",\n"), "]"), "constrained.json")
