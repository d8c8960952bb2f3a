// What D says: variance over time, and the correlation of one visit with the others.
explorer({
  name: "variance",
  figure: "fig-variance-function",
  title: "Change D",
  lead: "A random intercept and a random slope. Left, the standard deviation of a measurement over time; right, its correlation with a measurement at week s. Points are the placebo arm of the lead trial, bars 95 per cent intervals.",
  hasData: true,
  controls: [
    {id: "sd0", label: "sd of intercepts", min: 0, max: 10, step: 0.1, value: 5},
    {id: "sd1", label: "sd of slopes, per week", min: 0, max: 2, step: 0.02, value: 0.5, digits: 2},
    {id: "rho", label: "correlation of the two", min: -1, max: 1, step: 0.02, value: 0.2, digits: 2},
    {id: "sigma", label: "σ, of a measurement", min: 0.2, max: 8, step: 0.1, value: 2.3},
    {id: "s", label: "week s", min: 0, max: 6, step: 0.25, value: 0, digits: 2},
  ],
  compute({sd0, sd1, rho, sigma, s}) {
    const covariance = (a, b) => sd0 ** 2 + rho * sd0 * sd1 * (a + b) + sd1 ** 2 * a * b;
    const variance = (t) => covariance(t, t) + sigma ** 2;
    const t = lib.grid(-2, 8, 81);
    const sd = t.map((w) => Math.sqrt(variance(w)));
    const correlation = t.map((w) => covariance(s, w) / Math.sqrt(variance(s) * variance(w)));
    return {t, sd, correlation, least: sd1 > 0 ? (-rho * sd0) / sd1 : null, lowest: Math.sqrt(Math.max(0, sd0 ** 2 * (1 - rho ** 2)) + sigma ** 2)};
  },
  rows({t, sd, correlation}, {s}, data) {
    const nearest = data.weeks.indexOf(s);
    return {
      sd: t.map((week, i) => ({week, value: sd[i]})),
      seen: data.weeks.map((week, i) => ({week, value: data.sd[i], lower: data.lower[i], upper: data.upper[i]})),
      correlation: t.map((week, i) => ({week, value: correlation[i]})),
      of: nearest < 0 ? [] : data.weeks.flatMap((week, i) => (i === nearest ? [] : [{week, value: data.correlation[nearest][i]}])),
      s: [{week: s}],
    };
  },
  says({sd, correlation, least, lowest, t}, {s, sd0, rho}) {
    const at = (week) => t.findIndex((w) => Math.abs(w - week) < 1e-9), n = lib.text;
    const where = least === null || sd0 === 0 || rho === 0
      ? `The standard deviation is ${n(sd[at(0)], 1)} at week 0 and ${n(sd[at(6)], 1)} at week 6`
      : `The standard deviation is least at week ${n(least, 1)}, ${n(lowest, 1)}; it is ${n(sd[at(0)], 1)} at week 0 and ${n(sd[at(6)], 1)} at week 6`;
    return `${where}. A measurement at week ${n(s, 2)} has the correlation ${n(correlation[at(0)], 2)} with another one at week 0, and ${n(correlation[at(6)], 2)} with one at week 6.`;
  },
  spec: (c) => ({
    panels: [
      {
        encoding: {x: {field: "week", type: "quantitative", scale: {domain: [-2, 8], nice: false}}, y: {type: "quantitative"}},
        layer: [
          {data: {name: "sd"}, mark: {type: "line", color: c.blue, strokeWidth: 2.2}, encoding: {y: {field: "value", title: "sd, µg/dL", scale: {domain: [0, 16], nice: false, clamp: true}}}},
          {data: {name: "seen"}, mark: {type: "rule", color: c.ink}, encoding: {y: {field: "lower"}, y2: {field: "upper"}}},
          {data: {name: "seen"}, mark: {type: "point", filled: true, opacity: 1, size: 50, color: c.ink}, encoding: {y: {field: "value"}}},
        ],
      },
      {
        encoding: {x: {field: "week", type: "quantitative", scale: {domain: [-2, 8], nice: false}}},
        layer: [
          {data: {name: "correlation"}, mark: {type: "line", color: c.vermillion, strokeWidth: 2.2}, encoding: {y: {field: "value", type: "quantitative", title: "correlation with week s", scale: {domain: [-1, 1], nice: false}}}},
          {data: {name: "of"}, mark: {type: "point", filled: true, opacity: 1, size: 50, color: c.ink}, encoding: {y: {field: "value", type: "quantitative"}}},
          {data: {name: "s"}, mark: {type: "rule", color: c.soft, strokeDash: [5, 4]}},
        ],
      },
    ],
  }),
});
