// Coverage of intervals with few groups: stored trials of made-up children are replayed.
explorer({
  name: "coverage",
  figure: "fig-small-question",
  title: "Replay trials",
  lead: "Trials of children with gaps: the two arms do not differ, each child has one to four visits, and every trial was fitted by REML. An interval that misses the truth is dashed and ends in a square.",
  hasData: true,
  controls: [
    {id: "children", label: "children in an arm", choices: [["3", "3"], ["5", "5"], ["10", "10"]], value: "3"},
    {id: "method", label: "interval", choices: [["z", "z, 1.96 standard errors"], ["t", "t with children − 2 df"], ["satterthwaite", "Satterthwaite"]], value: "z"},
    {id: "level", label: "level", choices: [["0.8", "80 %"], ["0.95", "95 %"], ["0.99", "99 %"]], value: "0.95"},
    {id: "trials", label: "trials so far", min: 1, max: 400, step: 1, value: 25, digits: 0},
    {id: "play", label: "Run", play: ({trials}) => (trials >= 400 ? null : {trials: Math.min(400, trials + 5)}), every: 120},
  ],
  compute({children, method, level, trials}, data) {
    const {estimate, se, reach} = data[children], far = reach[method][level];
    const of = (i) => (Array.isArray(far) ? far[i] : far);
    const lower = [], upper = [];
    for (let i = 0; i < trials; i++) {
      lower.push(estimate[i] - of(i) * se[i]);
      upper.push(estimate[i] + of(i) * se[i]);
    }
    const hits = lower.map((low, i) => low <= 0 && upper[i] >= 0);
    const share = lib.sum(hits.map(Number)) / trials;
    return {lower, upper, share, error: Math.sqrt((share * (1 - share)) / trials), width: lib.sum(upper.map((u, i) => u - lower[i])) / trials};
  },
  rows({lower, upper}, {trials}) {
    const first = Math.max(0, trials - 50);
    return {
      intervals: lower.slice(first).map((low, i) => ({
        trial: first + i + 1, lower: Math.max(low, -20), upper: Math.min(upper[first + i], 20),
        middle: (low + upper[first + i]) / 2, hit: low <= 0 && upper[first + i] >= 0 ? "covers zero" : "misses",
      })),
    };
  },
  says({share, error, width}, {trials, level}) {
    const t = lib.text;
    return `${t(100 * share, 1)} per cent of ${trials} interval${trials === 1 ? "" : "s"} of level ${100 * level} per cent cover the truth` +
      (trials > 9 ? `, with a Monte Carlo error of ${t(100 * error, 1)}` : "") + `; they are ${t(width, 1)} µg/dL long on average. The last ${Math.min(50, trials)} are drawn.`;
  },
  spec: (c) => ({
    encoding: {x: {field: "trial", type: "quantitative", title: "trial", axis: {format: "d", grid: false}, scale: {zero: false, nice: false, padding: 6}}, color: {field: "hit", type: "nominal", scale: {domain: ["covers zero", "misses"], range: [c.blue, c.vermillion]}}},
    layer: [
      {
        data: {name: "intervals"}, mark: {type: "rule", strokeWidth: 2},
        encoding: {
          y: {field: "lower", type: "quantitative", title: "difference of the arms, µg/dL", scale: {domain: [-20, 20], nice: false}}, y2: {field: "upper"},
          strokeDash: {field: "hit", type: "nominal", scale: {domain: ["covers zero", "misses"], range: [[1, 0], [4, 3]]}},
        },
      },
      {
        data: {name: "intervals"}, mark: {type: "point", filled: true, opacity: 1, size: 30, clip: true},
        encoding: {y: {field: "middle", type: "quantitative"}, shape: {field: "hit", type: "nominal", scale: {domain: ["covers zero", "misses"], range: ["circle", "square"]}}},
      },
      {data: {values: [{}]}, mark: {type: "rule", color: c.ink}, encoding: {x: null, color: null, y: {datum: 0}}},
    ],
  }),
});
