"""The figures that move: their numbers are those of `lmmlib` at many settings; pointer, keyboard, light and dark."""

import json
import re

import numpy as np
import pytest

from chapters._tools.explorers import DATA, SOURCES, figures
from tests.book import oracles
from tests.book.browser import DESK, PHONE, offline_context, settle

NAMES = sorted(figures())
# What JavaScript and NumPy compute in double precision agrees to rounding; this is what a reader is promised.
CLOSE = 1e-6


def page_of(built, name):
    """The built page that has an explorer."""
    found = [
        p for p in sorted(built.glob("chapters/*.html")) if f"explorers/{name}.js" in p.read_text(encoding="utf-8")
    ]
    assert len(found) == 1, f"{name} is on {len(found)} pages"
    return found[0]


@pytest.fixture(scope="module")
def opened(browser, built):
    """A function that opens an explorer on its page, once, and gives the page and what went wrong on it."""
    tabs = {}

    def at(name):
        if name not in tabs:
            context, tried = offline_context(browser)
            tab, wrong = context.new_page(), []
            tab.on("pageerror", lambda error: wrong.append(str(error)))
            tab.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
            tab.goto(page_of(built, name).as_uri())
            settle(tab)
            tab.evaluate(f"explorers[{name!r}].button.click()")
            tab.wait_for_function(f"explorers[{name!r}].view")
            tabs[name] = tab, wrong + tried
        tab, wrong = tabs[name]
        tab.evaluate(f"void explorers[{name!r}].set(structuredClone(explorers[{name!r}].first))")
        return tab, wrong

    yield at
    for tab, _ in tabs.values():
        tab.context.close()


def ask(tab, name, what):
    return tab.evaluate(f"(() => {{ const e = explorers[{name!r}]; return {what}; }})()")


def compare(found, expected):
    """The largest difference between the numbers of an explorer and the same by `lmmlib`, relative above one."""
    worst = 0.0
    for key, value in expected.items():
        ours, theirs = np.asarray(found[key], float), np.asarray(value, float)
        assert ours.shape == theirs.shape, f"{key}: {ours.shape}, not {theirs.shape}"
        worst = max(worst, float(np.max(np.abs(ours - theirs) / np.maximum(1, np.abs(theirs)), initial=0.0)))
    return worst


def test_every_explorer_has_an_oracle_and_twenty_settings():
    assert NAMES == sorted(oracles.ORACLES) == sorted(oracles.SETTINGS)
    assert all(len({json.dumps(s, sort_keys=True) for s in some}) >= 20 for some in oracles.SETTINGS.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_numbers_are_those_of_lmmlib(name, opened):
    tab, wrong = opened(name)
    data = ask(tab, name, "e.data")
    for setting in oracles.SETTINGS[name]:
        state, found = ask(tab, name, f"(e.set({json.dumps(setting)}), [e.state, e.result])")
        assert compare(found, oracles.ORACLES[name](state, data)) < CLOSE, setting
    assert not wrong


def test_a_wrong_number_is_seen(opened):
    tab, _ = opened("pooling")
    state, found, data = ask(tab, "pooling", "[e.state, e.result, e.data]")
    expected = oracles.ORACLES["pooling"](state | {"sigma": state["sigma"] * (1 + 1e-5)}, data)
    assert compare(found, expected) > CLOSE


@pytest.mark.parametrize("name", NAMES)
def test_what_is_drawn_and_said_are_these_numbers(name, opened):
    tab, _ = opened(name)
    for setting in oracles.SETTINGS[name][:4]:
        drawn, rows, said, sentence = tab.evaluate(
            f"""async () => {{
                const e = explorers[{name!r}];
                await e.set({json.dumps(setting)});
                await e.view.runAsync();
                const rows = e.rows(e.result, e.state, e.data);
                const drawn = Object.fromEntries(Object.keys(rows).map(key => [key, e.view.data(key)]));
                return [drawn, rows, e.says(e.result, e.state, e.data), e.sentence.textContent];
            }}"""
        )
        assert said == sentence and not re.search(r"NaN|undefined|Infinity|null|-\d", said), said
        for key, values in rows.items():
            assert [{k: row[k] for k in value} for row, value in zip(drawn[key], values, strict=True)] == values


@pytest.mark.parametrize("name", NAMES)
def test_a_keyboard_moves_it(name, opened):
    tab, _ = opened(name)
    for control in ask(tab, name, "e.controls.map(c => [c.id, Boolean(c.press || c.play || c.choices)])"):
        if control[1]:
            continue
        before = ask(tab, name, f"e.state[{control[0]!r}]")
        tab.focus(f"#explorer-{name}-{control[0]}")
        tab.keyboard.press("ArrowRight")
        after = ask(tab, name, f"e.state[{control[0]!r}]")
        if before == after:  # it stood at its end
            tab.keyboard.press("ArrowLeft")
            after = ask(tab, name, f"e.state[{control[0]!r}]")
        assert after != before, control[0]
        assert tab.get_attribute(f"#explorer-{name}-{control[0]}", "aria-valuetext")


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("name", NAMES)
def test_it_fits_in_light_and_dark_and_prints_as_the_figure(name, size, opened):
    tab, wrong = opened(name)
    tab.set_viewport_size(size)
    for theme in ("dark", "light"):
        tab.evaluate(f"document.documentElement.dataset.theme = {theme!r}")
        tab.wait_for_function(f"explorers[{name!r}].view")
        tab.wait_for_timeout(150)
        wide = ask(tab, name, "[e.panel.scrollWidth - e.panel.clientWidth, document.documentElement.scrollWidth]")
        assert wide[0] <= 1 and wide[1] <= size["width"] + 1
    tab.emulate_media(media="print")
    assert ask(tab, name, "[e.picture.checkVisibility(), e.panel.checkVisibility()]") == [True, False]
    tab.emulate_media(media="screen")
    tab.set_viewport_size(DESK)
    assert not wrong


def test_a_point_is_pulled_by_the_pointer(opened):
    tab, _ = opened("pooling")
    tab.evaluate("explorers.pooling.drawing.scrollIntoView({block: 'center', behavior: 'instant'})")
    tab.wait_for_timeout(300)  # the window of the test before was a phone's
    x, y = tab.evaluate(
        """() => {
            const marks = [...explorers.pooling.drawing.querySelectorAll('path[role=graphics-symbol]')];
            const box = marks.find(m => m.getBoundingClientRect().width > 15).getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }"""
    )
    before = ask(tab, "pooling", "e.state.own")
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x - 100, y, steps=4)
    tab.mouse.up()
    assert ask(tab, "pooling", "e.state.own") < before - 3
    pulled = ask(tab, "pooling", "e.state.own")
    tab.mouse.move(x, y)
    assert ask(tab, "pooling", "e.state.own") == pulled


def test_the_figure_comes_back(opened):
    tab, _ = opened("pooling")
    ask(tab, "pooling", "e.button.click()")
    assert ask(tab, "pooling", "[e.picture.hidden, e.panel, e.button.getAttribute('aria-expanded')]") == [
        False,
        None,
        "false",
    ]
    ask(tab, "pooling", "e.button.click()")
    tab.wait_for_function("explorers.pooling.view")


def test_vega_is_loaded_only_when_it_is_asked_for(browser, built):
    context, _ = offline_context(browser)
    tab, fetched = context.new_page(), []
    tab.on("request", lambda request: fetched.append(request.url))
    tab.goto(page_of(built, "pooling").as_uri())
    settle(tab)
    assert not [url for url in fetched if url.endswith("vega.js")]
    context.close()
    pages = [p for p in built.glob("chapters/*.html") if "explorers/explore.js" in p.read_text(encoding="utf-8")]
    assert {p.stem for p in pages} == {page_of(built, name).stem for name in NAMES}


def test_every_data_file_belongs_to_an_explorer(built):
    wanted = {path.stem for path in SOURCES.glob("*.js") if "hasData: true" in path.read_text(encoding="utf-8")}
    assert wanted == set(DATA) == {p.name.split(".")[0] for p in built.glob("_static/explorers/*.data.js")}
