# Rscript lme4.R DATA.csv FORMULA REPEATS: seconds of each REML fit at lme4's default settings, one a line, then the
# REML criterion. Reading the data is not timed; the first fit is not counted.
arguments <- commandArgs(trailingOnly = TRUE)
suppressMessages(library(lme4))
data <- read.csv(arguments[1])
data[[1]] <- factor(data[[1]])
model <- as.formula(arguments[2])
for (k in 0:as.integer(arguments[3])) {
  begin <- Sys.time()
  fitted <- suppressMessages(suppressWarnings(lmer(model, data)))
  seconds <- as.numeric(Sys.time() - begin, units = "secs")
  if (k > 0) cat(sprintf("%.9f\n", seconds))
}
cat(sprintf("%.15g\n", -2 * as.numeric(logLik(fitted))))
