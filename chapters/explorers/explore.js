// Explorers: a figure of the book that moves. Each is a file beside this one, which calls
//
//   explorer({name, figure, title, lead, controls, compute, rows, says, spec, drag})
//
// figure    the name of the figure that it brings to life; the figure stays until the reader asks for more
// lead      what can be done and how the drawing is read, in a sentence or two
// controls  sliders, choices and buttons: {id, label, ...}, see `make`; ids are the entries of `state`
// compute   (state, data) => numbers: all mathematics, no drawing; tested against lmmlib at many settings
// rows      (result, state, data) => {name: rows}: what the named data sets of the drawing hold
// says      (result, state) => a sentence that says in words what is seen now
// spec      (look, data) => a Vega-Lite specification, whose data have names; `panels` stand side by side
// drag      (state, datum, x, y) => change: what a pointer does that pulls a row with `drag: true`; a slider does it too
//
// No kernel, no network: Vega is loaded from the build when an explorer is opened.
"use strict";

const explorers = {};

const lib = {
  /** A number with a true minus sign and so many decimals. */
  text: (x, digits = 2) => (Number.isFinite(x) ? x.toFixed(digits).replace(/^-/, "−").replace(/^−(0(\.0*)?)$/, "$1") : "–"),
  sum: (xs) => xs.reduce((a, b) => a + b, 0),
  range: (n) => Array.from({length: n}, (_, i) => i),
  /** n points from a to b. */
  grid: (a, b, n) => Array.from({length: n}, (_, i) => a + ((b - a) * i) / (n - 1)),
};

(() => {
  const here = document.currentScript.src.replace(/[^/]*$/, "");
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");

  /** Load a script of the build once. */
  const loading = {};
  const load = (file) =>
    (loading[file] ??= new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = here + file;
      script.onload = done;
      script.onerror = () => failed(new Error(`${file} could not be loaded`));
      document.head.append(script);
    }));

  /** The colours of the page, those of Okabe and Ito for data; on a dark ground the dark ones are lighter. */
  const look = () => {
    const dark = document.documentElement.dataset.theme === "dark";
    return dark
      ? {ink: "#e6e6e6", soft: "#8f96a3", grid: "#3a3f48", blue: "#56B4E9", vermillion: "#FF8A3D", green: "#2FCBA0", purple: "#E3A3C6"}
      : {ink: "#1a1a1a", soft: "#6b7280", grid: "#e3e5e8", blue: "#0072B2", vermillion: "#D55E00", green: "#00785A", purple: "#A84F80"};
  };

  const config = (c) => ({
    background: null,
    font: "sans-serif",
    axis: {labelColor: c.ink, titleColor: c.ink, tickColor: c.soft, domainColor: c.soft, gridColor: c.grid, labelFontSize: 12, titleFontSize: 13, titleFontWeight: "normal"},
    legend: {labelColor: c.ink, titleColor: c.ink, labelFontSize: 12, orient: "top", title: null, symbolStrokeWidth: 2, labelLimit: 400},
    view: {stroke: null},
    title: {color: c.ink, fontWeight: "normal", fontSize: 13},
  });

  const element = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) {
      if (value !== false && value !== undefined) made.setAttribute(key, value === true ? "" : value);
    }
    made.append(...children);
    return made;
  };

  class Explorer {
    constructor(about) {
      Object.assign(this, about);
      this.state = {};
      for (const control of this.controls) {
        if ("value" in control) this.state[control.id] = control.value;
      }
      Object.assign(this.state, structuredClone(this.start ?? {}));
      this.first = structuredClone(this.state);
    }

    /** Put a button on the figure. */
    attach() {
      const named = document.getElementById(this.figure);
      const figure = named?.closest("figure") ?? named;
      if (!figure) return;
      this.picture = figure.querySelector("img")?.closest("a, p, figure > *") ?? figure.querySelector("img");
      this.still = [this.picture, figure.querySelector("figcaption")].filter(Boolean);
      this.button = element("button", {type: "button", class: "explorer-open", "aria-expanded": "false"});
      this.button.append(element("span", {"aria-hidden": "true"}, "▷ "), this.title);
      this.button.addEventListener("click", () => (this.panel ? this.close() : this.open()));
      figure.classList.add("has-explorer");
      figure.prepend(this.button);
    }

    async open() {
      this.button.disabled = true;
      try {
        await Promise.all([load("vega.js"), this.hasData ? load(`${this.name}.data.js`) : null]);
      } catch (error) {
        this.button.textContent = error.message;
        return;
      }
      this.button.disabled = false;
      this.panel = element("div", {class: "explorer", role: "group", "aria-label": this.title, id: `explorer-${this.name}`});
      this.inputs = {};
      const controls = element("div", {class: "explorer-controls"});
      for (const control of this.controls) controls.append(this.make(control));
      const reset = element("button", {type: "button"}, "Start again");
      reset.addEventListener("click", () => this.set(structuredClone(this.first)));
      controls.append(reset);
      this.sentence = element("p", {class: "explorer-says", "aria-live": "polite"});
      this.drawing = element("div", {class: "explorer-drawing"});
      this.panel.append(element("p", {class: "explorer-lead"}, this.lead), controls, this.drawing, this.sentence);
      this.picture.before(this.panel);
      for (const part of this.still) part.hidden = true;
      this.button.setAttribute("aria-expanded", "true");
      this.button.lastChild.textContent = "Back to the figure";
      await this.draw();
      this.fits = new ResizeObserver(() => this.drawing.clientWidth !== this.width && this.draw());
      this.fits.observe(this.drawing);
      this.watch = new MutationObserver(() => this.draw());
      this.watch.observe(document.documentElement, {attributes: true, attributeFilter: ["data-theme"]});
    }

    close() {
      this.stop();
      this.watch.disconnect();
      this.fits.disconnect();
      this.view?.finalize();
      this.panel.remove();
      this.panel = this.view = null;
      for (const part of this.still) part.hidden = false;
      this.button.setAttribute("aria-expanded", "false");
      this.button.lastChild.textContent = this.title;
      this.button.focus();
    }

    /** A control: a slider (min, max, step, or values), a choice (choices), or a button (press, or play). */
    make(control) {
      const id = `explorer-${this.name}-${control.id}`;
      if (control.press || control.play) {
        const button = element("button", {type: "button", id}, control.label);
        button.addEventListener("click", () => (control.play ? this.play(control, button) : this.change(control.press)));
        this.inputs[control.id] = {show: () => {}};
        return button;
      }
      const label = element("label", {for: id}, control.label);
      let input, output;
      if (control.choices) {
        input = element("select", {id});
        for (const [value, text] of control.choices) input.append(element("option", {value}, text));
        this.inputs[control.id] = {input, show: (value) => (input.value = value)};
        input.addEventListener("change", () => this.set({[control.id]: input.value}));
        return element("div", {class: "explorer-control"}, label, input);
      }
      const {values} = control;
      const range = values ? {min: 0, max: values.length - 1, step: 1} : control;
      input = element("input", {type: "range", id, min: range.min, max: range.max, step: range.step});
      output = element("output", {for: id});
      const told = control.told ?? ((v) => lib.text(v, control.digits ?? 1));
      const show = (value) => {
        const limits = control.limits ? control.limits(this.state) : {};
        for (const [key, limit] of Object.entries(limits)) input[key] = limit;
        input.value = values ? values.indexOf(value) : value;
        output.value = told(value, this.state);
        input.setAttribute("aria-valuetext", output.value);
      };
      this.inputs[control.id] = {input, show};
      input.addEventListener("input", () => this.set({[control.id]: values ? values[input.value] : Number(input.value)}));
      return element("div", {class: "explorer-control"}, label, input, output);
    }

    stop() {
      clearInterval(this.timer);
      this.timer = null;
    }

    /** Step after step until there is no next one; at once where motion is not wanted. */
    play(control, button) {
      const step = () => {
        const next = control.play(this.state, this.data);
        if (next) this.set(next);
        return Boolean(next);
      };
      if (this.timer) return this.stop();
      if (still.matches) {
        let left = 10000;
        while (left-- && step());
        return;
      }
      this.timer = setInterval(() => step() || this.stop(), control.every ?? 150);
    }

    change(press) {
      this.stop();
      this.set(press(this.state, this.data));
    }

    /** Change some of the state, and everything that follows from it. */
    set(change) {
      const before = this.state;
      this.state = {...before, ...change};
      if (this.follow) Object.assign(this.state, this.follow(this.state, before, this.data));
      return this.update();
    }

    update() {
      this.result = this.compute(this.state, this.data);
      for (const control of this.controls) this.inputs[control.id].show(this.state[control.id]);
      this.sentence.textContent = this.says(this.result, this.state, this.data);
      if (!this.view) return null;
      const rows = this.rows(this.result, this.state, this.data);
      for (const [name, values] of Object.entries(rows)) this.view.data(name, values);
      return this.view.runAsync();
    }

    /** Draw anew, one drawing after the other. */
    draw() {
      return (this.drawn = (this.drawn ?? Promise.resolve()).then(() => this.panel && this.redraw()));
    }

    async redraw() {
      this.view?.finalize();
      this.view = null;
      this.update();
      this.width = this.drawing.clientWidth;
      const fit = {width: this.width, height: 300, autosize: {type: "fit", contains: "padding"}};
      const spec = {config: config(look()), ...fit, ...this.spec(look(), this.data)};
      // Side by side, or on a phone one below the other.
      if (spec.panels) {
        const beside = this.width > 560;
        for (const panel of spec.panels) Object.assign(panel, {width: beside ? this.width / 2 - 75 : this.width - 75, height: beside ? 240 : 170});
        Object.assign(spec, {[beside ? "hconcat" : "vconcat"]: spec.panels, autosize: "pad"});
        for (const key of ["panels", "width", "height"]) delete spec[key];
      }
      const names = Object.keys(this.rows(this.result, this.state, this.data));
      spec.datasets = Object.fromEntries(names.map((name) => [name, this.rows(this.result, this.state, this.data)[name]]));
      const {view} = await vegaEmbed(this.drawing, spec, {actions: false, renderer: "svg", tooltip: false});
      this.view = view;
      // What the picture shows is said by the sentence and the sliders.
      this.drawing.querySelector("svg").setAttribute("aria-hidden", "true");
      if (this.drag) this.draggable();
      return view.runAsync();
    }

    /** Let a pointer move the rows of one data set. */
    draggable() {
      let held = null;
      const svg = this.drawing.querySelector("svg");
      const place = (event) => {
        const box = svg.getBoundingClientRect(), [left, top] = this.view.origin();
        const scale = svg.viewBox.baseVal.width / box.width || 1;
        const at = {x: (event.clientX - box.left) * scale - left, y: (event.clientY - box.top) * scale - top};
        return ["x", "y"].map((axis) => {
          const s = this.view.scale(axis);
          return s.invert ? s.invert(at[axis]) : undefined;
        });
      };
      this.view.addEventListener("pointerdown", (event, item) => {
        if (!item?.datum?.drag) return;
        held = item.datum;
        svg.setPointerCapture?.(event.pointerId);
        event.preventDefault();
      });
      svg.addEventListener("pointermove", (event) => held && this.set(this.drag(this.state, held, ...place(event))));
      for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => (held = null));
      svg.style.touchAction = "pan-y";
    }
  }

  window.explorer = (about) => {
    const made = (explorers[about.name] = new Explorer(about));
    made.data = null;
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", () => made.attach());
    else made.attach();
  };
})();
