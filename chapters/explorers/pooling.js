// Partial pooling: predictions of children's levels, as the variances, the visits and one child change.
explorer({
  name: "pooling",
  figure: "fig-blups-parabola",
  title: "Pull the children yourself",
  lead: "Eight children of the lead trial. A hollow point is a child's own mean, a filled one its prediction with 95 per cent limits; the dashed line is the mean of all. Pull the hollow point of the first child, or move a slider.",
  hasData: true,
  controls: [
    {id: "tau", label: "τ, between children", min: 0, max: 12, step: 0.1, value: 5.4},
    {id: "sigma", label: "σ, of a visit", min: 0.5, max: 12, step: 0.1, value: 5.8},
    {id: "visits", label: "visits of this child", min: 1, max: 12, step: 1, value: 4, digits: 0},
    {id: "own", label: "mean of this child", min: 10, max: 45, step: 0.1, value: 38},
  ],
  compute(state, data) {
    const means = [...data.means.slice(1)], n = means.map(() => data.visits);
    means.unshift(state.own);
    n.unshift(state.visits);
    const tau2 = state.tau ** 2, sigma2 = state.sigma ** 2;
    const weight = n.map((k) => 1 / (tau2 + sigma2 / k));
    const mu = lib.sum(means.map((m, i) => weight[i] * m)) / lib.sum(weight);
    const factor = n.map((k) => tau2 / (tau2 + sigma2 / k));
    const predicted = means.map((m, i) => mu + factor[i] * (m - mu));
    // The error of predicting mu + b_i when mu is estimated and the variances are known.
    const se = factor.map((k) => Math.sqrt(tau2 * (1 - k) + (1 - k) ** 2 / lib.sum(weight)));
    return {mu, means, n, factor, predicted, se};
  },
  rows(result) {
    const child = result.means.map((mean, i) => ({
      child: i ? `${i + 1}` : "this child", mean, predicted: result.predicted[i], drag: i === 0,
      lower: result.predicted[i] - 1.96 * result.se[i], upper: result.predicted[i] + 1.96 * result.se[i],
    }));
    return {child, mu: [{mu: result.mu}]};
  },
  says(result, state) {
    const t = lib.text;
    return `This child's ${state.visits} visit${state.visits === 1 ? "" : "s"} average ${t(state.own, 1)}. ` +
      `${t(100 * result.factor[0], 0)} per cent of its distance from the mean of all, ${t(result.mu, 1)}, is kept: ` +
      `the prediction is ${t(result.predicted[0], 1)}, with a standard error of ${t(result.se[0], 1)}; ` +
      `the other children keep ${t(100 * result.factor[1], 0)} per cent of theirs.`;
  },
  drag: (state, datum, x) => ({own: Math.min(45, Math.max(10, Math.round(10 * x) / 10))}),
  spec: (c) => ({
    height: 290,
    layer: [
      {data: {name: "mu"}, mark: {type: "rule", color: c.soft, strokeDash: [5, 4]}, encoding: {x: {field: "mu", type: "quantitative"}}},
      {
        data: {name: "child"}, mark: {type: "rule", color: c.blue, strokeWidth: 2},
        encoding: {
          y: {field: "child", type: "nominal", sort: null, title: null},
          x: {field: "lower", type: "quantitative", scale: {domain: [8, 47], nice: false, zero: false}, title: "mean lead, µg/dL"},
          x2: {field: "upper"},
        },
      },
      {
        data: {name: "child"}, mark: {type: "rule", color: c.soft, strokeWidth: 1.2},
        encoding: {y: {field: "child", type: "nominal", sort: null}, x: {field: "mean", type: "quantitative"}, x2: {field: "predicted"}},
      },
      {
        data: {name: "child"}, mark: {type: "point", filled: true, size: 110, opacity: 1, color: c.blue},
        encoding: {y: {field: "child", type: "nominal", sort: null}, x: {field: "predicted", type: "quantitative"}},
      },
      {
        data: {name: "child"}, mark: {type: "point", filled: true, fill: "transparent", strokeWidth: 2.2, opacity: 1, stroke: c.vermillion},
        encoding: {
          y: {field: "child", type: "nominal", sort: null}, x: {field: "mean", type: "quantitative"},
          size: {condition: {test: "datum.drag", value: 260}, value: 110},
        },
      },
    ],
  }),
});
