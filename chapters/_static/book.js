// Formulas: those in view are typeset first, the others in portions between which the page answers its reader.
const PORTION = 60;

async function typesetPage() {
  const all = [...document.querySelectorAll(".math")].filter(e => !e.querySelector(".math"));
  const inView = e => {
    const box = e.getBoundingClientRect();
    return box.bottom > 0 && box.top < window.innerHeight && e.checkVisibility();
  };
  const now = all.filter(inView), later = all.filter(e => !now.includes(e));
  if (now.length) await MathJax.typesetPromise(now);
  for (let k = 0; k < later.length; k += PORTION) {
    await new Promise(done => setTimeout(done));
    await MathJax.typesetPromise(later.slice(k, k + PORTION));
  }
  fitPage();
}

window.MathJax = window.MathJax || {};
MathJax.startup = {...MathJax.startup, pageReady: typesetPage};

// An inline formula that is wider than its line gets a line of its own, which scrolls (phones).
function frameWideFormulas() {
  const formulas = [...document.querySelectorAll(".bd-article mjx-container:not([display])")];
  formulas.forEach(formula => formula.classList.remove("wide"));
  const wide = formulas.filter(formula => {
    const line = formula.parentElement.closest("p, li, dd, td, figcaption, div");
    return formula.getBoundingClientRect().width > line.clientWidth;
  });
  wide.forEach(formula => formula.classList.add("wide"));
}

// What scrolls by itself is reached by the keyboard, and nothing else is.
const FRAMES = ".table-frame, .pst-scrollable-table-container, .text_html, .bd-article figure, .bd-article pre, " +
  "div.math > mjx-container, mjx-container.wide, .bd-sidebar-primary, .bd-sidebar-secondary";

function focusWhatScrolls() {
  for (const frame of document.querySelectorAll(FRAMES)) {
    const scrolls = frame.scrollWidth > frame.clientWidth + 1 && getComputedStyle(frame).overflowX !== "visible";
    const down = frame.scrollHeight > frame.clientHeight + 1 && /auto|scroll/.test(getComputedStyle(frame).overflowY);
    if (scrolls || down) frame.tabIndex = 0;
    else frame.removeAttribute("tabindex");
  }
}

function fitPage() {
  frameWideFormulas();
  focusWhatScrolls();
}

// A sign that opens a list of pages says which.
function nameToggles() {
  for (const summary of document.querySelectorAll(".bd-sidebar-primary summary")) {
    const link = summary.closest("li").querySelector("a");
    summary.setAttribute("aria-label", `Pages below ${link.textContent.trim()}`);
  }
}

// Buttons that unfold say what; a reader who hears them has not seen where they stand.
function nameButtons() {
  for (const button of document.querySelectorAll("button.toggle-button")) {
    const box = button.closest(".admonition, .solution");
    const title = box && box.querySelector(".admonition-title");
    if (title) button.setAttribute("aria-label", `Show or hide: ${title.textContent.trim()}`);
  }
}

document.addEventListener("DOMContentLoaded", nameToggles);
window.addEventListener("load", () => {
  nameButtons();
  fitPage();
  let waiting;
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(fitPage, 50);
  });
  document.addEventListener("toggle", focusWhatScrolls, true);
  document.addEventListener("click", () => setTimeout(focusWhatScrolls, 400));
});
