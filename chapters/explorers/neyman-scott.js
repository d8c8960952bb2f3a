// Neyman and Scott: groups of m are added, each with a constant of its own; the estimate goes where the theorem says.
explorer({
  name: "neyman-scott",
  figure: "fig-neyman-scott",
  title: "Add groups",
  lead: "Groups of m observations with variance 1 around a mean of their own, from one simulation. Solid: the maximum likelihood estimate with a constant for each group; dashed: with random effects, by REML. The dotted lines are the limit of the theorem and the truth.",
  hasData: true,
  controls: [
    {id: "m", label: "observations in a group, m", min: 2, max: 10, step: 1, value: 2, digits: 0},
    {id: "n", label: "groups, n", values: [2, 3, 4, 5, 7, 10, 14, 20, 30, 40, 60, 80, 100, 150, 200, 300, 400], value: 10, digits: 0},
    {id: "play", label: "Add groups one by one", play: ({n}) => {
      const all = [2, 3, 4, 5, 7, 10, 14, 20, 30, 40, 60, 80, 100, 150, 200, 300, 400];
      return n === 400 ? null : {n: all[all.indexOf(n) + 1]};
    }, every: 350},
  ],
  compute({m, n}, {y}) {
    const paths = {ml: [], reml: []};
    let within = 0, sum = 0, squares = 0;
    for (let i = 0; i < n; i++) {
      const own = y[i].slice(0, m), mean = lib.sum(own) / m;
      within += lib.sum(own.map((x) => (x - mean) ** 2));
      sum += mean;
      squares += mean * mean;
      const k = i + 1;
      if (k < 2) continue;
      paths.ml.push(within / (k * m));
      // REML of the balanced design: the mean square within groups, or if that is larger than between, all together.
      const between = m * (squares - sum * sum / k), inside = within / (k * (m - 1));
      paths.reml.push(between / (k - 1) >= inside ? inside : (within + between) / (k * m - 1));
    }
    return {...paths, estimate: paths.ml[n - 2], other: paths.reml[n - 2], limit: (m - 1) / m};
  },
  rows({ml, reml, limit}) {
    const names = ["constants, maximum likelihood", "random effects, REML"];
    const path = (values, by) => values.map((estimate, i) => ({n: i + 2, estimate, by}));
    return {paths: [...path(ml, names[0]), ...path(reml, names[1])], lines: [{at: limit}, {at: 1}]};
  },
  says({estimate, other, limit}, {n, m}) {
    const t = lib.text;
    return `With ${n} groups of ${m} the estimate is ${t(estimate, 3)}; more groups take it to (m − 1)/m = ${t(limit, 3)}, and not to the truth, 1. ` +
      `With random effects it is ${t(other, 3)}, and goes to 1. More observations in a group repair the first one, more groups do not.`;
  },
  spec: (c) => ({
    layer: [
      {data: {name: "lines"}, mark: {type: "rule", color: c.soft, strokeDash: [2, 3], strokeWidth: 1.5}, encoding: {y: {field: "at", type: "quantitative"}}},
      {
        data: {name: "paths"}, mark: {type: "line", clip: true, strokeWidth: 2.2},
        encoding: {
          x: {field: "n", type: "quantitative", title: "number of groups", scale: {type: "log", domain: [2, 400], nice: false}},
          y: {field: "estimate", type: "quantitative", title: "estimate of the variance", scale: {domain: [0, 1.6], nice: false}},
          color: {field: "by", type: "nominal", scale: {domain: ["constants, maximum likelihood", "random effects, REML"], range: [c.vermillion, c.blue]}},
          strokeDash: {field: "by", type: "nominal", scale: {domain: ["constants, maximum likelihood", "random effects, REML"], range: [[1, 0], [6, 4]]}},
        },
      },
    ],
  }),
});
