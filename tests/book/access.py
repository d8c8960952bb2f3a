"""What axe-core finds on a page, in both themes, on a desk and a phone, and what scrolls out of the keyboard's reach.

axe looks long at every element. A page has thousands that are alike, so that first those are taken out whose every
part has its like elsewhere on the page: the same kinds of elements, of the same classes, inside each other.
"""

from importlib.resources import files

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
THIN = """() => {
    const keys = new Map(), seen = new Set();
    const key = e => {
        if (!keys.has(e)) {
            const above = e.parentElement && e.parentElement !== document.body ? key(e.parentElement) : '';
            const kind = [e.tagName, ...[...e.classList].sort(), e.getAttribute('role'), e.tabIndex].join('.');
            const named = e.textContent.trim() || e.getAttribute('aria-label') || e.getAttribute('alt') ? '' : 'empty';
            keys.set(e, `${above}>${kind}${named}`);
        }
        return keys.get(e);
    };
    document.querySelectorAll('mjx-container').forEach(e => e.replaceChildren('x'));
    const thin = e => {
        for (const child of [...e.children]) {
            const all = [child, ...child.querySelectorAll('*')];
            const kept = all.some(x => /^H[1-6]$/.test(x.tagName)) || !all.every(x => seen.has(key(x)));
            if (!kept && e.tagName !== 'DL') child.remove();
            else {
                seen.add(key(child));
                thin(child);
            }
        }
    };
    document.querySelectorAll('.bd-article, .bd-links, .page-toc').forEach(thin);
}"""
RUN = """async options => {
    const found = await axe.run(document, {resultTypes: ['violations'], preload: false, ...options});
    return found.violations.flatMap(rule => rule.nodes.map(
        node => `${rule.id} (${rule.impact}): ${node.target.join(' ')}: ${node.failureSummary}`));
}"""
THEME = "theme => { document.documentElement.dataset.theme = theme; }"
# In the dark only colours are new, on a phone what is laid out otherwise.
RULES = {
    ("light", "desk"): {},
    ("light", "phone"): {"runOnly": ["color-contrast", "target-size", "scrollable-region-focusable", "region"]},
    ("dark", "desk"): {"runOnly": ["color-contrast", "link-in-text-block"]},
    ("dark", "phone"): {"runOnly": ["color-contrast"]},
}
# Frames that scroll sideways, or up and down, and that no key reaches.
OUT_OF_REACH = """() => [...document.querySelectorAll('.bd-article *, .bd-sidebar *, .bd-sidebar')].filter(e => {
    const style = getComputedStyle(e);
    const sideways = /auto|scroll/.test(style.overflowX) && e.scrollWidth > e.clientWidth + 1;
    const down = /auto|scroll/.test(style.overflowY) && e.scrollHeight > e.clientHeight + 1;
    return (sideways || down) && e.checkVisibility() && e.tabIndex < 0 && !e.querySelector('a[href], button, summary');
}).map(e => `${e.tagName.toLowerCase()}.${e.className}: ${e.textContent.trim().slice(0, 50)}`)"""
# Formulas that a screen reader cannot say: without MathML, or with it hidden too.
SILENT = """() => [...document.querySelectorAll('mjx-container')].filter(e => {
    const spoken = e.querySelector('mjx-assistive-mml math');
    return !spoken || !spoken.textContent.trim() || spoken.closest('[aria-hidden="true"]');
}).map(e => e.outerHTML.slice(0, 80))"""


def violations(page, sizes):
    """Thin the open page, which is of no use afterwards, and let axe look at it in each theme at each size."""
    page.evaluate(AXE)
    page.evaluate(THIN)
    page.add_style_tag(content="* { transition: none !important; animation: none !important; }")
    found = []
    for (theme, size), options in RULES.items():
        page.set_viewport_size(sizes[size])
        page.evaluate(THEME, theme)
        # The page does so itself a moment after its window has changed; on a busy machine that may be a long one.
        page.evaluate("() => window.fitPage && fitPage()")
        page.wait_for_timeout(50)
        found += [f"{theme}, {size}: {what}" for what in page.evaluate(RUN, options)]
    return found
