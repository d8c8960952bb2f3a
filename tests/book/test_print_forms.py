"""Tables and figures of stored outputs as the page shows them."""

import re

import pytest

from tests.book.browser import DESK, offline_context, settle
from tests.notebooks.conftest import load_tool

forms = load_tool("print_forms")


@pytest.mark.parametrize(
    "name, symbol",
    [
        ("sigma2", "σ²"),
        ("tau_sq", "τ²"),
        ("tau^2 = 400", "τ² = 400"),
        ("beta0", "β₀"),
        ("beta[1]", "β₁"),
        ("theta 2", "θ₂"),
        ("log_tau", "log τ"),
        ("sigma2 / (sigma2 + tau2)", "σ² / (σ² + τ²)"),
        ("lambda.max", "lambda.max"),
        ("counts_50x10", "counts_50x10"),
        ("n_parameters", "n_parameters"),
        ("Beta(1, 1)", "Beta(1, 1)"),
        ("alphabet", "alphabet"),
    ],
)
def test_names_become_symbols(name, symbol):
    assert forms.symbols(name) == symbol


def test_decimal_points_stand_below_each_other():
    assert forms.aligned(["1.25", "\u22123", "10.125", "", "<0.001"]) == [
        "1.25\u2007",
        "\u22123\u2008\u2007\u2007\u2007",
        "10.125",
        "",
        "<0.001",
    ]
    assert forms.aligned(["1", "20"]) == ["1", "20"]


def test_a_table_keeps_its_cells():
    headings = '<th scope="col">of tau2</th><th scope="col" class="num">se</th>'
    head = f'<table class="lmm-table">\n<thead><tr>{headings}</tr></thead>'
    row = '<tr><th scope="row">sigma2</th><td class="num">{}</td></tr>'
    html = "\n".join([head, "<tbody>", row.format("-1.5"), row.format("2e-05"), "</tbody>", "</table>"])
    shown = forms.tables(html)
    assert "of τ²" in shown and shown.count("<td") == 2 and ">σ²</th>" in shown
    assert "\u22121.5</td>" in shown and "2e-05" in shown


def test_no_table_of_the_book_has_a_hyphen_for_a_minus(built):
    tables = 0
    for path in (built / "chapters").rglob("*.html"):
        for table in forms.TABLE.findall(path.read_text(encoding="utf-8")):
            tables += 1
            assert not re.search(r'class="num">-\d', table), path.name
            assert not re.search(r"<th[^>]*>(?:sigma2|tau2|rho|sigma_sq|tau_sq)<", table), path.name
    assert tables > 300


LETTERS = """() => [...document.querySelectorAll('figure img')].filter(e => e.checkVisibility()).map(
    e => e.getBoundingClientRect().width / parseFloat(e.style.getPropertyValue('--inches')))"""
DARK = """() => [...document.querySelectorAll('figure img')].map(e => getComputedStyle(e).filter)"""


def test_letters_of_figures_have_one_size(browser, built):
    context, _ = offline_context(browser, color_scheme="dark")
    tab = context.new_page()
    tab.goto((built / "chapters/07-blups.html").as_uri())
    settle(tab)
    sizes, filters = tab.evaluate(LETTERS), tab.evaluate(DARK)
    width = tab.evaluate("document.querySelector('.bd-article').clientWidth")
    context.close()
    assert width < DESK["width"] and len(sizes) > 8
    assert max(sizes) / min(sizes) < 1.25, sizes
    assert all("invert" in one for one in filters)


def test_captions_name_the_ink_of_either_page():
    caption = "<figcaption><p>The black line, <a title='black'>darker</a>.</p></figcaption><p>black</p>"
    shown = forms.inks(caption)
    assert 'data-dark="white">black<' in shown and 'data-dark="lighter">darker<' in shown
    assert shown.endswith("<p>black</p>") and "title='black'" in shown
