// The contents at the side follow the reader: the section whose heading was last passed is marked. Over the last
// screen, where headings cannot reach the top any more, the line that they pass moves down to the foot of the page.
(() => {
  const READING = 90; // pixels below the top of the window
  let places = [], landed = null;

  function collect() {
    for (const link of document.querySelectorAll("#page-contents a[href^='#']")) {
      const place = document.getElementById(decodeURIComponent(link.hash.slice(1)));
      if (place) places.push({link, place});
    }
  }

  function reached() {
    const left = document.documentElement.scrollHeight - window.innerHeight - window.scrollY;
    const foot = Math.max(0, 1 - left / window.innerHeight);
    return READING + foot * (window.innerHeight - READING);
  }

  function current() {
    // After a jump the place that was asked for, until the reader moves.
    if (landed && Math.abs(landed.y - window.scrollY) < 3) return landed.link;
    landed = null;
    const line = reached();
    const passed = places.filter(({place}) => place.getBoundingClientRect().top <= line);
    return passed.length ? passed[passed.length - 1].link : null;
  }

  function mark() {
    const here = current();
    for (const {link} of places) {
      const holds = link === here || (here && link.parentElement?.contains(here));
      link.classList.toggle("active", Boolean(holds));
      if (link === here) link.setAttribute("aria-current", "location");
      else link.removeAttribute("aria-current");
    }
    const frame = document.querySelector(".bd-sidebar-secondary");
    if (here && frame && frame.scrollHeight > frame.clientHeight) {
      const at = here.getBoundingClientRect(), box = frame.getBoundingClientRect();
      if (at.top < box.top || at.bottom > box.bottom) frame.scrollTop += at.top - box.top - box.height / 3;
    }
  }

  // The browser has scrolled when this runs; formulas that are typeset later move the place once more.
  function land() {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const inside = target && places.filter(({place}) => place.contains(target)).pop();
    landed = inside ? {link: inside.link, y: window.scrollY} : null;
    mark();
  }

  let asked = false;
  function later() {
    if (!asked) requestAnimationFrame(() => { asked = false; mark(); });
    asked = true;
  }

  document.addEventListener("DOMContentLoaded", () => {
    collect();
    if (!places.length) return;
    window.addEventListener("scroll", later, {passive: true});
    window.addEventListener("resize", later);
    window.addEventListener("hashchange", () => requestAnimationFrame(land));
    // A second click on the same entry changes no hash.
    places.forEach(({link}) => link.addEventListener("click", () => setTimeout(land, 50)));
    window.addEventListener("load", () => {
      const typeset = window.MathJax && MathJax.startup && MathJax.startup.promise;
      Promise.resolve(typeset).then(() => {
        const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
        if (target && !moved) target.scrollIntoView();
        requestAnimationFrame(land);
      });
      mark();
    });
  });
  let moved = false;
  for (const kind of ["wheel", "touchmove", "keydown", "pointerdown"])
    window.addEventListener(kind, () => { moved = true; }, {passive: true, once: true});
})();
