// Gibbs step by step for the mean and the effects of groups, variances known: three ways to write the effects.
explorer({
  name: "gibbs",
  figure: "fig-gibbs-staircase",
  title: "Step by step",
  lead: "Twenty groups of m measurements with mean μ + effect, variances known. Standard: μ and effects about zero in turn. Centred: μ and the group means in turn. Interwoven: both in one sweep. The ellipse holds 95 per cent of the posterior.",
  hasData: true,
  controls: [
    {id: "way", label: "how the effects are written", choices: [["standard", "standard, about zero"], ["centred", "centred, about μ"], ["interwoven", "interwoven"]], value: "standard"},
    {id: "tau", label: "τ, between groups", min: 0.1, max: 4, step: 0.1, value: 2},
    {id: "m", label: "measurements in a group", min: 1, max: 10, step: 1, value: 4, digits: 0},
    {id: "steps", label: "sweeps", min: 0, max: 200, step: 1, value: 0, digits: 0},
    {id: "step", label: "Next sweep", press: ({steps}) => ({steps: Math.min(200, steps + 1)})},
    {id: "play", label: "Run", play: ({steps}) => (steps >= 200 ? null : {steps: steps + 1}), every: 120},
  ],
  compute({way, tau, m, steps}, {means, normal}) {
    const n = means.length, sigma2 = 1, tau2 = tau * tau, ybar = lib.sum(means) / n;
    // Only the mean of the effects, a, moves with mu: a | mu is normal, and so is mu | a, or mu | c with c = mu + a.
    const va = 1 / (n * (1 / tau2 + m / sigma2)), shrink = tau2 / (tau2 + sigma2 / m), vs = sigma2 / (n * m), vc = tau2 / n;
    const a_of = (mu, z) => shrink * (ybar - mu) + Math.sqrt(va) * z;
    let mu = ybar - 3 * Math.sqrt(tau2 / n + vs);
    let a = shrink * (ybar - mu);
    const sweeps = [[mu, a]], corners = [[mu, a]];
    for (let k = 0; k < steps; k++) {
      const z = normal[k];
      a = a_of(mu, z[0]);
      corners.push([mu, a]);
      if (way !== "centred") {
        mu = ybar - a + Math.sqrt(vs) * z[1];
        corners.push([mu, a]);
      }
      if (way !== "standard") {
        const c = mu + a;
        mu = c + Math.sqrt(vc) * z[2];
        a = c - mu;
        corners.push([mu, a]);
      }
      sweeps.push([mu, a]);
    }
    // The lag-1 autocorrelation of mu that the theory gives.
    const standard = shrink, centred = 1 - shrink;
    const rate = {standard, centred, interwoven: 0}[way];
    // The joint posterior of mu and a.
    const S = [[tau2 / n + vs, -vc], [-vc, vc]];
    return {sweeps, corners, rate, S, centre: [ybar, 0]};
  },
  rows({sweeps, corners, S, centre}) {
    const l11 = Math.sqrt(S[0][0]), l21 = S[1][0] / l11, l22 = Math.sqrt(S[1][1] - l21 * l21), r = Math.sqrt(5.991);
    const ring = lib.grid(0, 2 * Math.PI, 91).map((t, order) => ({mu: centre[0] + r * l11 * Math.cos(t), a: centre[1] + r * (l21 * Math.cos(t) + l22 * Math.sin(t)), order}));
    const recent = corners.slice(-60);
    return {
      ring,
      path: recent.map(([mu, a], order) => ({mu, a, order})),
      sweeps: sweeps.map(([mu, a]) => ({mu, a})),
      last: [{mu: sweeps.at(-1)[0], a: sweeps.at(-1)[1]}],
    };
  },
  says({sweeps, rate}, {steps, way}) {
    const t = lib.text, [mu, a] = sweeps.at(-1);
    const after = steps === 0 ? "The chain stands at its start" : `After ${steps} sweep${steps === 1 ? "" : "s"} μ is ${t(mu, 2)} and the mean effect ${t(a, 2)}`;
    const pace = rate === 0 ? "each sweep forgets the one before" : `neighbouring draws of μ have the correlation ${t(rate, 2)}, so that ${t((1 + rate) / (1 - rate), 1)} sweeps are worth one independent draw`;
    return `${after}. By the ${way} sampler ${pace}.`;
  },
  spec: (c) => ({
    encoding: {
      x: {field: "mu", type: "quantitative", title: "μ", scale: {zero: false}},
      y: {field: "a", type: "quantitative", title: "mean of the effects", scale: {zero: false}},
      order: {field: "order", type: "quantitative"},
    },
    layer: [
      {data: {name: "ring"}, mark: {type: "line", color: c.soft, strokeWidth: 1.5}},
      {data: {name: "path"}, mark: {type: "line", color: c.blue, strokeWidth: 1.2}},
      {data: {name: "sweeps"}, mark: {type: "point", filled: true, opacity: 0.8, size: 22, color: c.vermillion}, encoding: {order: null}},
      {data: {name: "last"}, mark: {type: "point", filled: true, shape: "square", opacity: 1, size: 110, color: c.ink}, encoding: {order: null}},
    ],
  }),
});
