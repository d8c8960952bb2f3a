# What lme4 and nlme print at their default settings, and below it more digits of the same numbers:
# Rscript printed.R DATA writes lme4.txt and nlme.txt; DATA is the folder of the book's data.
# R 4.2.2, lme4 1.1-31, nlme 3.1-162.
suppressMessages({library(lme4); library(nlme)})
folder <- commandArgs(trailingOnly = TRUE)[1]
read <- function(name) read.csv(file.path(folder, paste0(name, ".csv")), stringsAsFactors = TRUE)
more <- function(fit) {
  beta <- if (inherits(fit, "gls")) coef(fit) else fixef(fit)
  if (inherits(fit, "merMod")) {
    table <- as.data.frame(VarCorr(fit))
    spread <- c(table$sdcor, table$vcov)
  } else if (inherits(fit, "lme")) {
    D <- as.matrix(getVarCov(fit))
    weights <- fit$modelStruct$varStruct
    ratios <- if (!is.null(weights)) coef(weights, unconstrained = FALSE)
    spread <- c(sqrt(diag(D)), if (nrow(D) == 2) cov2cor(D)[1, 2], fit$sigma, ratios)
  } else spread <- c(fit$sigma, coef(fit$modelStruct, unconstrained = FALSE))
  se <- sqrt(diag(as.matrix(vcov(fit))))
  found <- list(estimates = beta, errors = se, t = beta / se, spread = spread, logLik = as.numeric(logLik(fit)))
  for (name in names(found)) cat(name, sprintf("%.12g", found[[name]]), "\n")
}
show <- function(title, fit) {
  cat("##", title, "\n")
  print(summary(fit), correlation = FALSE)
  print(c(logLik = as.numeric(logLik(fit)), AIC = AIC(fit), BIC = BIC(fit)))
  more(fit)
  cat("\n")
}
sleep <- read("sleep"); penicillin <- read("penicillin"); pastes <- read("pastes"); cbpp <- read("cbpp")
cream <- read("cream"); dental <- read("dental"); dental$Sex <- relevel(dental$Sex, "Male")
for (name in c("herd", "period")) cbpp[[name]] <- factor(cbpp[[name]])
options(width = 120)
sink("lme4.txt")
show("sleep-slope-reml", lmer(Reaction ~ Days + (Days | Subject), sleep))
show("sleep-slope-ml", lmer(Reaction ~ Days + (Days | Subject), sleep, REML = FALSE))
show("sleep-diagonal-reml", lmer(Reaction ~ Days + (Days || Subject), sleep))
show("penicillin-reml", lmer(diameter ~ 1 + (1 | plate) + (1 | sample), penicillin))
show("penicillin-ml", lmer(diameter ~ 1 + (1 | plate) + (1 | sample), penicillin, REML = FALSE))
show("pastes-reml", lmer(strength ~ 1 + (1 | batch/cask), pastes))
show("cbpp-laplace", glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp, binomial))
show("cbpp-zero-nodes", glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp, binomial, nAGQ = 0))
show("cream-laplace", glmer(cbind(cured, patients - cured) ~ treatment + (1 | centre), cream, binomial))
sink()
sink("nlme.txt")
show("sleep-slope-reml", lme(Reaction ~ Days, random = ~ Days | Subject, data = sleep))
show("dental-sex-reml", lme(distance ~ age * Sex, random = ~ age | Subject, data = dental))
tlc <- read("tlc"); tlc$w <- factor(tlc$week); tlc$visit <- as.integer(tlc$w)
tlc$treatment <- relevel(tlc$treatment, "placebo")
f <- lead ~ treatment * w
show("tlc-by-reml", lme(f, random = ~ 1 | id, weights = varIdent(form = ~ 1 | w), data = tlc))
show("tlc-compound-reml", gls(f, correlation = corCompSymm(form = ~ 1 | id), data = tlc))
show("tlc-ar1-reml", gls(f, correlation = corAR1(form = ~ week | id), data = tlc))
by_week <- varIdent(form = ~ 1 | w)
free <- corSymm(form = ~ visit | id)
show("tlc-unstructured-reml", gls(f, correlation = free, weights = by_week, data = tlc))
show("tlc-unstructured-ml", gls(f, correlation = free, weights = by_week, data = tlc, method = "ML"))
sink()
