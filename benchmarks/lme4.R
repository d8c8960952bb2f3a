# Rscript lme4.R DATA.csv CALL REPEATS FACTORS CLOCK: seconds of each evaluation of CALL, such as lmer(y ~ (1 | g), data),
# one a line, then minus twice the log-likelihood of the fit, for lmer the REML criterion. FACTORS are columns of groups,
# with commas between them; CLOCK is "wall" or "processor". Reading the data is not timed; the first fit is not counted.
arguments <- commandArgs(trailingOnly = TRUE)
suppressMessages({library(lme4); library(nlme)})
data <- read.csv(arguments[1])
groups <- strsplit(arguments[4], ",")[[1]]
data[groups] <- lapply(data[groups], factor)
call <- parse(text = arguments[2])
clock <- if (arguments[5] == "processor") function() sum(proc.time()[1:2]) else function() as.numeric(Sys.time())
for (k in 0:as.integer(arguments[3])) {
  begin <- clock()
  fitted <- suppressMessages(suppressWarnings(eval(call)))
  seconds <- clock() - begin
  if (k > 0) cat(sprintf("%.9f\n", seconds))
}
cat(sprintf("%.15g\n", if (is.numeric(fitted)) -2 * fitted else -2 * as.numeric(logLik(fitted))))
