// A reference shows what it leads to: on pointing at it, on reaching it by the keyboard, on a tap. Escape closes.
// What stands on this page is copied from it; what stands on another comes from that page's file of previews,
// a script, which works from the disk too.
(() => {
  const KINDS = ".math, .proof, .exercise, .citation, figure, dt, section";
  const WAIT = 250, STAY = 250; // milliseconds
  const root = new URL(document.documentElement.dataset.content_root || "./", document.baseURI);
  const loaded = new Map(), waiting = new Map();
  let box, link, timer;

  window.bookPreviews = (page, views) => {
    loaded.set(page, views);
    (waiting.get(page) || []).forEach(done => done(views));
  };

  function viewsOf(page) {
    if (loaded.has(page)) return Promise.resolve(loaded.get(page));
    return new Promise(done => {
      if (waiting.has(page)) return waiting.get(page).push(done);
      waiting.set(page, [done]);
      const script = document.createElement("script");
      script.src = new URL(`_static/previews/${page.replace(/\.html$/, "").replaceAll("/", "--")}.js`, root);
      script.onerror = () => window.bookPreviews(page, {});
      document.head.append(script);
    });
  }

  // The copy keeps no name that is on the page already.
  function copyOf(element) {
    const copy = element.cloneNode(true);
    [copy, ...copy.querySelectorAll("[id]")].forEach(e => e.closest("svg") || e.removeAttribute("id"));
    copy.querySelectorAll(".headerlink, button, [id^='index-place']").forEach(e => e.remove());
    return copy;
  }

  function onThisPage(anchor) {
    let target = document.getElementById(anchor);
    if (target && target.tagName === "SPAN") target = target.closest("section, .math") || target;
    if (!target || !target.matches(KINDS)) return null;
    const parts = document.createElement("div");
    if (target.matches("section")) {
      const heading = target.querySelector("h1, h2, h3, h4");
      const title = document.createElement("div");
      title.className = "heading";
      const line = document.createElement("p");
      line.append(...copyOf(heading).childNodes);
      title.append(line);
      parts.append(title);
      if (heading.nextElementSibling && heading.nextElementSibling.matches("p"))
        parts.append(copyOf(heading.nextElementSibling));
    } else if (target.matches("dt")) {
      const list = document.createElement("dl");
      list.append(copyOf(target), copyOf(target.nextElementSibling));
      parts.append(list);
    } else parts.append(copyOf(target));
    return parts;
  }

  async function contentFor(url) {
    const anchor = decodeURIComponent(url.hash.slice(1));
    if (url.pathname === location.pathname) return onThisPage(anchor);
    const page = decodeURIComponent(url.pathname).slice(decodeURIComponent(root.pathname).length);
    const html = (await viewsOf(page))[anchor];
    if (!html) return null;
    const parts = document.createElement("div");
    parts.innerHTML = html;
    for (const image of parts.querySelectorAll("img")) image.src = new URL(image.getAttribute("src"), url);
    for (const other of parts.querySelectorAll("a[href]")) other.href = new URL(other.getAttribute("href"), url);
    return parts;
  }

  function place() {
    const at = link.getClientRects()[0] || link.getBoundingClientRect(), gap = 6, edge = 8;
    box.style.maxHeight = "";
    const below = window.innerHeight - at.bottom - gap - edge, above = at.top - gap - edge;
    const size = box.getBoundingClientRect();
    const under = size.height <= below || below >= above;
    box.style.maxHeight = `${Math.max(under ? below : above, 80)}px`;
    const height = Math.min(size.height, under ? below : above);
    box.style.top = `${under ? at.bottom + gap : at.top - gap - height}px`;
    box.style.left = `${Math.max(edge, Math.min(at.left, window.innerWidth - size.width - edge))}px`;
  }

  async function show(asked, touched) {
    const content = await contentFor(new URL(asked.href));
    if (!content || (link === asked && !box.hidden) || (asked !== timerLink && !touched)) return;
    close();
    link = asked;
    box.replaceChildren(content);
    if (touched) {
      const row = document.createElement("p");
      row.className = "go";
      row.innerHTML = `<a href="${asked.href}">Go there</a><button type="button">Close</button>`;
      row.lastChild.addEventListener("click", close);
      row.firstChild.addEventListener("click", close);
      box.append(row);
    }
    box.hidden = false;
    link.setAttribute("aria-describedby", box.id);
    place();
    const untypeset = [...box.querySelectorAll(".math")].filter(e => !e.querySelector("mjx-container"));
    if (untypeset.length && window.MathJax && MathJax.typesetPromise) {
      await MathJax.startup.promise;
      await MathJax.typesetPromise(untypeset);
    }
    if (box.hidden) return;
    place();
    const scrolls = box.scrollHeight > box.clientHeight + 1;
    if (scrolls) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }

  function close() {
    clearTimeout(timer);
    if (link) link.removeAttribute("aria-describedby");
    box.hidden = true;
    link = null;
  }

  let timerLink = null;
  function soon(asked, wait) {
    clearTimeout(timer);
    timerLink = asked;
    timer = setTimeout(() => show(asked), wait);
  }
  function closeSoon() {
    clearTimeout(timer);
    timerLink = null;
    timer = setTimeout(close, STAY);
  }
  const reference = event => {
    const found = event.target.closest && event.target.closest(".bd-article a.internal[href*='#'], #preview a.internal");
    return found && !found.closest("#preview, .book-index, nav, .heading") ? found : null;
  };

  document.addEventListener("DOMContentLoaded", () => {
    box = document.createElement("div");
    box.id = "preview";
    box.hidden = true;
    box.setAttribute("role", "tooltip");
    document.querySelector("main, body").append(box);
    let touch = false;
    document.addEventListener("pointerdown", event => {
      touch = event.pointerType === "touch";
      if (!box.hidden && !event.target.closest("#preview") && !reference(event)) close();
    });
    document.addEventListener("pointerover", event => {
      if (event.pointerType === "touch") return;
      const asked = reference(event);
      if (asked && asked !== link) soon(asked, WAIT);
      else if (event.target.closest("#preview") || asked) clearTimeout(timer);
    });
    document.addEventListener("pointerout", event => {
      if (event.pointerType === "touch") return;
      const to = event.relatedTarget;
      if ((reference(event) || event.target.closest("#preview")) && !(to && to.closest && to.closest("#preview")))
        closeSoon();
    });
    document.addEventListener("focusin", event => {
      const asked = reference(event);
      if (asked && asked.matches(":focus-visible")) soon(asked, 0);
      else if (!box.hidden && !event.target.closest("#preview")) closeSoon();
    });
    document.addEventListener("focusout", event => {
      if (reference(event) && !(event.relatedTarget && event.relatedTarget.closest("#preview"))) closeSoon();
    });
    document.addEventListener("keydown", event => {
      if (event.key === "Escape" && !box.hidden) close();
    });
    // A first tap shows, "Go there" or a second tap follows.
    document.addEventListener("click", event => {
      const asked = reference(event);
      if (!asked) return;
      if (touch && asked !== link && asked.dataset.nothing === undefined) {
        event.preventDefault();
        contentFor(new URL(asked.href)).then(content => {
          if (content) return show(asked, true);
          asked.dataset.nothing = "";
          asked.click();
        });
      } else close();
    });
    window.addEventListener("resize", close);
    window.addEventListener("scroll", () => { if (!box.hidden && link) place(); }, {passive: true});
  });
})();
