// The search: places of the book that hold all the words, best first. Runs on the page search.html alone, which loads
// the places as a script, so that it works from the disk too.
(() => {
  const SMALL = new Set(("a an and are as at be by can do does for from how i if in is it my not of on or the there " +
    "this to was what when which why with you your").split(" "));
  const MOST = 30, BEFORE = 60, LENGTH = 260;
  const plain = text => text.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").toLowerCase().replace(/[’']/g, "");
  const stem = word => word.length > 4
    ? word.replace(/ies$/, "y").replace(/(?:ations?|ating|ated|ates?|ing|ed|es|s|e|ion|ions)$/, "") || word : word.replace(/s$/, "");
  const apart = text => text.replace(/\b\w*[a-z][A-Z]\w*/g, name => `${name} ${name.replace(/([a-z])([A-Z])/g, "$1 $2")}`);
  const wordsOf = text => (plain(apart(text)).match(/[\p{L}\p{N}²_]+(?:[.-][\p{L}\p{N}]+)*/gu) || [])
    .flatMap(word => /[.-]/.test(word) ? [word, ...word.split(/[.-]/)] : [word]);

  function prepared(place) {
    const count = new Map();
    for (const word of wordsOf(place.text)) {
      const key = stem(word);
      count.set(key, (count.get(key) || 0) + 1);
    }
    return {
      ...place, count,
      name: plain(place.title.replace(/^[\d.]+ /, "")),
      inTitle: new Set(wordsOf(place.title).map(stem)),
      inOf: new Set(wordsOf(place.of).map(stem)),
      marks: place.words.map(word => plain(word.replace(/^! /, ""))),
      inMarks: new Set(place.words.flatMap(wordsOf).map(stem)),
    };
  }

  // The score of a place for some words; 0 unless it has them all.
  function score(place, words, phrase, rarity) {
    let sum = 0;
    for (const word of words) {
      const n = place.count.get(word) || 0;
      const one = (place.inTitle.has(word) ? 6 : 0) + (place.inMarks.has(word) ? 5 : 0) +
        (place.inOf.has(word) ? 1.5 : 0) + (n ? 1 + Math.log(n) / 2 : 0);
      if (one === 0) return 0;
      sum += one * rarity(word);
    }
    const top = Math.max(...words.map(rarity));
    if (place.name === phrase || place.marks.includes(phrase)) sum += place.kind === "function" ? 8 * top : 14 * top;
    else if (words.length > 1 && place.name.includes(phrase)) sum += 5 * top;
    else if (words.length > 1 && plain(place.text).includes(phrase)) sum += 2 * top;
    return sum * place.weight;
  }

  function search(places, query) {
    const phrase = plain(query).trim();
    const all = wordsOf(query), meant = all.filter(word => !SMALL.has(word));
    const words = [...new Set((meant.length ? meant : all).map(stem))];
    if (!words.length) return [];
    const rare = new Map();
    const has = (place, word) => place.count.has(word) || place.inTitle.has(word) || place.inMarks.has(word);
    const rarity = word => {
      if (!rare.has(word)) rare.set(word, Math.log(1 + places.length / (1 + places.filter(p => has(p, word)).length)));
      return rare.get(word);
    };
    // Another word for a term asks for the term too: REML for restricted maximum likelihood.
    const asks = [{words, phrase, part: 1}];
    for (const term of places.filter(p => p.kind === "term" && p.marks.includes(phrase)))
      asks.push({words: wordsOf(term.name).filter(w => !SMALL.has(w)).map(stem), phrase: term.name, part: 0.8});
    const scored = places.map(place => [Math.max(...asks.map(a => a.part * score(place, a.words, a.phrase, rarity))), place]);
    const found = scored.filter(([value]) => value > 0).sort((a, b) => b[0] - a[0]);
    return found.map(([value, place]) => ({value, place, words}));
  }

  function excerpt(place, words) {
    const at = [...place.text.matchAll(/[\p{L}\p{N}²_]+/gu)].find(m => words.includes(stem(plain(m[0]))));
    let start = Math.max(0, (at ? at.index : 0) - BEFORE);
    if (start) start = place.text.indexOf(" ", start) + 1;
    let end = start + LENGTH;
    if (end < place.text.length) end = place.text.lastIndexOf(" ", end);
    const line = document.createElement("p");
    line.append(start ? "… " : "");
    for (const piece of place.text.slice(start, end).split(/([\p{L}\p{N}²_]+)/u)) {
      if (words.includes(stem(plain(piece)))) {
        const mark = document.createElement("mark");
        mark.textContent = piece;
        line.append(mark);
      } else line.append(piece);
    }
    line.append(end < place.text.length ? " …" : "");
    return line;
  }

  const KIND = {term: "glossary", function: "reference"};
  function item({place, words}) {
    const entry = document.createElement("li"), link = document.createElement("a");
    link.href = `${place.page}.html${place.anchor ? `#${place.anchor}` : ""}`;
    link.textContent = place.title;
    entry.append(link);
    const where = KIND[place.kind] || (place.anchor ? place.of : "");
    if (where) {
      const note = document.createElement("span");
      note.className = "where";
      note.textContent = ` ${where}`;
      entry.append(note);
    }
    entry.append(excerpt(place, words));
    return entry;
  }

  window.bookPlaces = places => {
    const ready = places.map(prepared);
    window.bookSearch = query => search(ready, query);
    const query = new URLSearchParams(location.search).get("q") || "";
    const results = document.getElementById("search-results");
    const said = document.createElement("p");
    said.setAttribute("role", "status");
    results.append(said);
    if (!query.trim()) {
      said.textContent = "Type a word or a question, such as REML, or how to install.";
      return;
    }
    const found = search(ready, query);
    const list = document.createElement("ol");
    list.className = "search";
    found.slice(0, MOST).forEach(hit => list.append(item(hit)));
    results.append(list);
    said.textContent = found.length === 0 ? "Nothing found: try fewer words, or the index."
      : found.length === 1 ? "One place." : `${found.length} places${found.length > MOST ? `, the best ${MOST} of them below` : ""}.`;
  };

  document.addEventListener("DOMContentLoaded", () => {
    if (!document.getElementById("search-results")) return;
    for (const field of document.querySelectorAll("form.bd-search input"))
      field.value = new URLSearchParams(location.search).get("q") || "";
    const script = document.createElement("script");
    script.src = "_static/search-places.js";
    document.head.append(script);
  });
})();
