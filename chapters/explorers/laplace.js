// Laplace's approximation and adaptive quadrature for one site with a single count.
explorer({
  name: "laplace",
  figure: "fig-counts-laplace",
  title: "Choose the count",
  lead: "One site with a single count y. Solid: what is integrated over the standardised effect u; dashed: the normal curve that Laplace puts in its place; points: the nodes of quadrature. Both curves are relative to the top.",
  hasData: true,
  controls: [
    {id: "y", label: "count y", min: 0, max: 40, step: 1, value: 0, digits: 0},
    {id: "mean", label: "mean count of the typical site", min: 0.2, max: 20, step: 0.2, value: 2},
    {id: "tau", label: "τ, of log rates", min: 0.05, max: 2.5, step: 0.05, value: 1.5, digits: 2},
    {id: "nodes", label: "nodes", min: 1, max: 15, step: 1, value: 1, digits: 0},
  ],
  compute({y, mean, tau, nodes}, data) {
    const beta = Math.log(mean);
    let constant = -0.5 * Math.log(2 * Math.PI);
    for (let k = 2; k <= y; k++) constant -= Math.log(k);
    const rate = (u) => Math.exp(beta + tau * u);
    const h = (u) => constant + y * (beta + tau * u) - rate(u) - (u * u) / 2;
    let mode = 0;
    for (let step = 0; step < 200; step++) {
      const slope = tau * (y - rate(mode)) - mode, bend = 1 + tau * tau * rate(mode);
      const move = Math.max(-1, Math.min(1, slope / bend));
      mode += move;
      if (Math.abs(move) < 1e-13) break;
    }
    const S = 1 + tau * tau * rate(mode), top = h(mode), root = Math.sqrt(S);
    const laplace = top + 0.5 * Math.log((2 * Math.PI) / S);
    const x = data.nodes[nodes - 1], w = data.weights[nodes - 1];
    const total = lib.sum(x.map((z, i) => w[i] * Math.exp(h(mode + z / root) - top + (z * z) / 2)));
    const quadrature = top + 0.5 * Math.log((2 * Math.PI) / S) + Math.log(total);
    // The trapezoidal rule is exact to rounding for a smooth function that vanishes at both ends.
    const fine = lib.grid(mode - 14, mode + 14, 4001);
    const exact = top + Math.log(lib.sum(fine.map((u) => Math.exp(h(u) - top))) * (fine[1] - fine[0]));
    const at = x.map((z) => mode + z / root);
    return {mode, S, laplace, quadrature, exact, at, top, h};
  },
  rows({mode, S, at, top, h}) {
    const reach = 4.5 / Math.sqrt(S) + 1;
    const us = lib.grid(mode - reach, mode + reach, 161);
    const names = ["integrand", "Laplace's normal curve"];
    return {
      curves: [
        ...us.map((u) => ({u, height: Math.exp(h(u) - top), curve: names[0]})),
        ...us.map((u) => ({u, height: Math.exp((-S * (u - mode) ** 2) / 2), curve: names[1]})),
      ],
      nodes: at.filter((u) => Math.abs(u - mode) <= reach).map((u) => ({u, height: Math.exp(h(u) - top)})),
    };
  },
  says({laplace, quadrature, exact}, {y, nodes}) {
    const t = lib.text, off = quadrature - exact, size = Math.abs(off);
    const how = size < 5e-6 ? "agrees to five decimals" : `is ${size < 5e-4 ? t(size, 5) : t(size, 3)} too ${off < 0 ? "low" : "high"}`;
    return `The log-likelihood of the count ${y} is ${t(exact, 4)}. Laplace has ${t(laplace, 4)}; ` +
      (nodes === 1 ? "one node is the same, and " : `with ${nodes} nodes it is ${t(quadrature, 4)}, which `) + `${how}.`;
  },
  spec: (c) => ({
    encoding: {x: {field: "u", type: "quantitative", title: "standardised effect u", scale: {nice: false, zero: false}}, y: {field: "height", type: "quantitative", title: "relative to the top", scale: {domain: [0, 1.05], nice: false}}},
    layer: [
      {
        data: {name: "curves"}, mark: {type: "line", strokeWidth: 2.2},
        encoding: {
          color: {field: "curve", type: "nominal", scale: {domain: ["integrand", "Laplace's normal curve"], range: [c.blue, c.vermillion]}},
          strokeDash: {field: "curve", type: "nominal", scale: {domain: ["integrand", "Laplace's normal curve"], range: [[1, 0], [6, 4]]}},
        },
      },
      {data: {name: "nodes"}, mark: {type: "point", filled: true, size: 60, opacity: 1, color: c.ink}},
    ],
  }),
});
