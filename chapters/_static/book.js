// An inline formula that is wider than its line gets a line of its own, which scrolls (phones).
function frameWideFormulas() {
  for (const formula of document.querySelectorAll("mjx-container:not([display])")) {
    formula.classList.remove("wide");
    const line = formula.parentElement.closest("p, li, dd, td, figcaption, div");
    if (formula.getBoundingClientRect().width > line.clientWidth) formula.classList.add("wide");
  }
}

window.addEventListener("load", () => {
  if (!window.MathJax || !MathJax.startup || !MathJax.startup.promise) return;
  MathJax.startup.promise.then(frameWideFormulas);
  window.addEventListener("resize", frameWideFormulas);
});
