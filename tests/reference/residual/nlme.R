# Fits by nlme of residual covariances: Rscript nlme.R beside data/tlc.csv writes nlme.json. R 4.2.2, nlme 3.1-162.
library(nlme)
d <- read.csv("tlc.csv"); d$treatment <- factor(d$treatment); d$w <- factor(d$week)
d <- d[(7 * d$id + 3 * d$week) %% 5 != 0, ]; d$visit <- as.integer(d$w); d$arm <- interaction(d$treatment, d$w)
ctl <- list(tolerance = 1e-10, msTol = 1e-12, msMaxIter = 500, maxIter = 500, returnObject = TRUE)
f <- lead ~ treatment * w
models <- list(
  by = function(m) lme(f, random = ~ 1 | id, weights = varIdent(form = ~ 1 | w), data = d, method = m, control = ctl),
  by_arm = function(m) gls(f, weights = varIdent(form = ~ 1 | arm), data = d, method = m, control = ctl),
  compound = function(m) gls(f, correlation = corCompSymm(form = ~ 1 | id), data = d, method = m, control = ctl),
  ar1 = function(m) gls(f, correlation = corAR1(form = ~ week | id), data = d, method = m, control = ctl),
  ar1_slope = function(m) lme(lead ~ treatment * week, random = ~ 1 | id, correlation = corAR1(form = ~ week | id), data = d, method = m, control = ctl),
  unstructured = function(m) gls(f, correlation = corSymm(form = ~ visit | id), weights = varIdent(form = ~ 1 | w), data = d, method = m, control = ctl))
num <- function(x) paste0("[", paste(sprintf("%.10g", x), collapse = ", "), "]")
out <- c()
for (name in names(models)) for (m in c("ML", "REML")) {
  a <- models[[name]](m)
  beta <- if (inherits(a, "lme")) fixef(a) else coef(a)
  V <- vcov(a)
  # vcov of gls by ML is that of REML's residual variance; of lme, varFix is without a correction.
  if (inherits(a, "lme")) V <- a$varFix else if (m == "ML") V <- V * (nrow(d) - length(beta)) / nrow(d)
  k <- a$modelStruct
  cor <- if (is.null(k$corStruct)) c() else coef(k$corStruct, unconstrained = FALSE)
  vars <- if (is.null(k$varStruct)) c() else coef(k$varStruct, unconstrained = FALSE, allCoef = TRUE) * a$sigma
  tau <- if (inherits(a, "lme")) sqrt(as.numeric(getVarCov(a)[1, 1])) else c()
  out <- c(out, sprintf('  {"model": "%s", "method": "%s", "loglik": %.12g,\n   "names": [%s],\n   "fixef": %s,\n   "se": %s,\n   "sigma": %.10g, "sigmas": {%s},\n   "rho": %s, "tau": %s}', name, m, as.numeric(logLik(a)), paste0('"', names(beta), '"', collapse = ", "), num(beta), num(sqrt(diag(V))), a$sigma, if (is.null(vars)) "" else paste0('"', names(vars), '": ', sprintf("%.10g", vars), collapse = ", "), num(cor), num(tau)))
}
writeLines(c("[", paste(out, collapse = ",\n"), "]"), "nlme.json")
