// Likelihood and restricted likelihood of tau in a balanced one-way design, down to the boundary.
explorer({
  name: "boundary",
  figure: "fig-ml-boundary",
  title: "Push τ to zero",
  lead: "Batches of five samples of the dyestuff. Move the means of the batches together or apart, or leave batches out; the curves are how far the deviance of the standard deviation τ lies above its least value, by maximum likelihood (solid) and by REML (dashed), with σ at its best; rings mark the τ of the slider.",
  hasData: true,
  controls: [
    {id: "batches", label: "batches", min: 3, max: 6, step: 1, value: 6, digits: 0},
    {id: "apart", label: "distances of the batch means", min: 0, max: 1.5, step: 0.01, value: 1, told: (v) => `${lib.text(100 * v, 0)} %`},
    {id: "tau", label: "τ", min: 0, max: 120, step: 1, value: 60, digits: 0},
  ],
  compute({batches, apart, tau}, {means, ssw}) {
    const m = 5, n = batches, own = means.slice(0, n), mean = lib.sum(own) / n;
    const W = lib.sum(ssw.slice(0, n)), B = apart ** 2 * m * lib.sum(own.map((x) => (x - mean) ** 2));
    // Minus twice the log-likelihood at tau2 and sigma2, with g = sigma2 + m tau2.
    const at = (tau2, sigma2, reml) => {
      const g = sigma2 + m * tau2, k = n * m - (reml ? 1 : 0);
      return k * Math.log(2 * Math.PI) + n * (m - 1) * Math.log(sigma2) + (n - (reml ? 1 : 0)) * Math.log(g) + W / sigma2 + B / g + (reml ? Math.log(n * m) : 0);
    };
    // For each tau the best sigma2: the root of a derivative that rises with log sigma2 where it is zero.
    const best = (tau2, reml) => {
      const slope = (v) => {
        const g = v + m * tau2;
        return n * (m - 1) - W / v + ((n - (reml ? 1 : 0)) / g - B / g ** 2) * v;
      };
      let low = Math.log(W / (n * m)) - 12, high = Math.log((W + B) / (n - 1)) + 3;
      for (let i = 0; i < 200 && high - low > 1e-15 * Math.abs(high); i++) {
        const middle = (low + high) / 2;
        if (slope(Math.exp(middle)) > 0) high = middle;
        else low = middle;
      }
      return Math.exp((low + high) / 2);
    };
    const optimum = (reml) => {
      const k = n - (reml ? 1 : 0), free = (B / k - W / (n * (m - 1))) / m;
      const tau2 = Math.max(0, free), sigma2 = free > 0 ? W / (n * (m - 1)) : (W + B) / (n * m - (reml ? 1 : 0));
      return {free, tau2, sigma2, value: at(tau2, sigma2, reml)};
    };
    const ml = optimum(false), reml = optimum(true);
    const deviance = (t, restricted) => at(t * t, best(t * t, restricted), restricted) - (restricted ? reml : ml).value;
    return {
      tau_ml: Math.sqrt(ml.tau2), tau_reml: Math.sqrt(reml.tau2), free_ml: ml.free, free_reml: reml.free,
      loglik_ml: -ml.value / 2, loglik_reml: -reml.value / 2,
      deviance_ml: deviance(tau, false), deviance_reml: deviance(tau, true), deviance,
    };
  },
  rows({deviance, tau_ml, tau_reml, deviance_ml, deviance_reml}, {tau}) {
    const ts = lib.grid(0, 120, 121), names = ["maximum likelihood", "REML"];
    return {
      curves: [false, true].flatMap((restricted) => ts.map((t) => ({tau: t, deviance: deviance(t, restricted), by: names[Number(restricted)]}))),
      best: [{tau: tau_ml, deviance: 0, by: names[0]}, {tau: tau_reml, deviance: 0, by: names[1]}],
      here: [{tau, deviance: deviance_ml}, {tau, deviance: deviance_reml}],
    };
  },
  says({tau_ml, tau_reml, free_reml, deviance_ml, deviance_reml}, {tau}) {
    const n = lib.text, rounded = (x) => (x < 0.05 ? "0" : n(x, 1));
    const zero = tau_reml === 0 ? ` Both lie on the boundary: without it the best τ² by REML would be ${n(free_reml, 0)}.`
      : tau_ml === 0 ? " Maximum likelihood lies on the boundary, REML does not." : "";
    return `Maximum likelihood has τ = ${rounded(tau_ml)} g, REML ${rounded(tau_reml)} g.${zero} At τ = ${n(tau, 0)} the deviance is ${n(deviance_ml, 2)} and ${n(deviance_reml, 2)} above its least; 3.84 is the limit of a 95 per cent interval.`;
  },
  spec: (c) => ({
    encoding: {
      x: {field: "tau", type: "quantitative", title: "τ, g", scale: {nice: false}},
      y: {field: "deviance", type: "quantitative", title: "deviance above its least", scale: {domain: [0, 10], nice: false}},
    },
    layer: [
      {
        data: {name: "curves"}, mark: {type: "line", clip: true, strokeWidth: 2.2},
        encoding: {
          color: {field: "by", type: "nominal", scale: {domain: ["maximum likelihood", "REML"], range: [c.blue, c.vermillion]}, legend: null},
          strokeDash: {field: "by", type: "nominal", scale: {domain: ["maximum likelihood", "REML"], range: [[1, 0], [6, 4]]}, legend: null},
        },
      },
      {data: {name: "best"}, mark: {type: "point", filled: true, opacity: 1, size: 90}, encoding: {fill: {field: "by", type: "nominal", scale: {domain: ["maximum likelihood", "REML"], range: [c.blue, c.vermillion]}, legend: null}}},
      {data: {name: "here"}, mark: {type: "point", clip: true, opacity: 1, size: 80, stroke: c.ink, strokeWidth: 2}},
      {data: {values: [{deviance: 3.841}]}, mark: {type: "rule", color: c.soft, strokeDash: [5, 4]}, encoding: {x: null}},
    ],
  }),
});
