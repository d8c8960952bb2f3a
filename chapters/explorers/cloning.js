// K clones: the posterior of tau closes on the maximum of the likelihood, or with one observation a group does not.
explorer({
  name: "cloning",
  figure: "fig-cloning-question",
  title: "Clone the data",
  lead: "The posterior of log τ when the data are used K times, scaled to its top, with the mean of the batches flat, and the residual variance at its estimate. Dotted: the maximum of the likelihood, if there is one.",
  hasData: true,
  controls: [
    {id: "data", label: "data", choices: [["six", "six batches of five"], ["one", "one sample of each batch"]], value: "six"},
    {id: "prior", label: "prior", choices: [["flat", "flat in τ"], ["gamma", "inverse gamma (1, 1) for τ²"], ["normal", "lognormal: log τ ~ N(0, 1)"]], value: "gamma"},
    {id: "K", label: "clones K", values: [1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1000], value: 1, digits: 0},
  ],
  compute({data: which, prior, K}, {six, one}) {
    const {n, m, B, W, total} = which === "six" ? six : one;
    // One sample of each batch: only the sum of the variances is seen, and sigma2 = total - tau2 stands for it.
    const log_likelihood = (tau2, sigma2) => {
      const g = sigma2 + m * tau2;
      return -0.5 * (n * Math.log(g) + n * (m - 1) * Math.log(sigma2) + (W ? W / sigma2 : 0) + B / g);
    };
    const sigma2_of = which === "six" ? () => W / (n * (m - 1)) : (tau2) => total - tau2;
    const log_prior = {flat: (t) => 0, gamma: (t) => -3 * Math.log(t) - 1 / (t * t), normal: (t) => -Math.log(t) - 0.5 * Math.log(t) ** 2}[prior];
    // Mu is integrated out: of K clones it takes half a log of g with it, once.
    const density = (s) => {
      const t = Math.exp(s), tau2 = t * t, sigma2 = sigma2_of(tau2);
      if (sigma2 <= 0) return -Infinity;
      return K * log_likelihood(tau2, sigma2) + 0.5 * Math.log(sigma2 + m * tau2) + log_prior(t) + s;
    };
    const top_tau = which === "six" ? Math.sqrt(Math.max(0, B / n - W / (n * (m - 1))) / m) : null;
    const high = which === "six" ? Math.log(top_tau) + 8 : Math.log(Math.sqrt(total));
    const coarse = lib.grid(-8, high, 4001), heights = coarse.map(density), top = Math.max(...heights);
    const inside = coarse.filter((s, i) => heights[i] > top - 45);
    const step = coarse[1] - coarse[0], from = Math.max(-8, inside[0] - step), to = Math.min(high, inside.at(-1) + step);
    // A midpoint rule between the places where the density is nothing.
    const N = 20000, h = (to - from) / N;
    let sum = 0, first = 0, second = 0;
    const s0 = (from + to) / 2;
    for (let i = 0; i < N; i++) {
      const s = from + (i + 0.5) * h, p = Math.exp(density(s) - top), away = s - s0;
      sum += p;
      first += p * away;
      second += p * away * away;
    }
    const mean = s0 + first / sum, sd = Math.sqrt(second / sum - (first / sum) ** 2);
    return {mean, sd, median_like: Math.exp(mean), top_tau: top_tau ?? 0, density, top};
  },
  rows({density, top, top_tau}) {
    const s = lib.grid(Math.log(0.3), Math.log(400), 401);
    return {curve: s.map((x) => ({tau: Math.exp(x), height: Math.exp(density(x) - top)})), maximum: top_tau ? [{tau: top_tau}] : []};
  },
  says({mean, sd, top_tau}, {K, data}) {
    const t = lib.text, scaled = t(Math.sqrt(K) * sd, 2);
    const where = `With K = ${K} the mean of log τ is ${t(mean, 3)}, that is τ = ${t(Math.exp(mean), 2)} g, and its standard deviation ${t(sd, 3)}, ${scaled} over the root of K`;
    return data === "six"
      ? `${where}. The maximum likelihood estimate is ${t(top_tau, 2)} g.`
      : `${where}. The data say nothing of τ once the sum of the two variances is known: clones do not narrow the curve, which stays that of the prior on the ridge.`;
  },
  spec: (c) => ({
    layer: [
      {data: {name: "maximum"}, mark: {type: "rule", color: c.soft, strokeDash: [3, 3], strokeWidth: 2}, encoding: {x: {field: "tau", type: "quantitative"}}},
      {
        data: {name: "curve"}, mark: {type: "area", line: {color: c.blue, strokeWidth: 2.2}, color: c.blue, opacity: 0.35},
        encoding: {
          x: {field: "tau", type: "quantitative", title: "τ, g", scale: {type: "log", domain: [0.3, 400], nice: false}},
          y: {field: "height", type: "quantitative", title: "posterior of log τ, over its top", scale: {domain: [0, 1.05], nice: false}},
        },
      },
    ],
  }),
});
