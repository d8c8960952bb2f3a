"""A result shows itself once, the same in text, HTML and LaTeX, and never raises."""

import re
from dataclasses import dataclass

from lmmlib.common.summary import Shown, Summary
from lmmlib.common.table import Table

TABLE = Table(("Fixed effects", "estimate"), (("x_1 & <y>", "1.50"), ("z", "-10.25")), (False, True), widths=(14, 9))
WHOLE = Summary(("a model: y ~ x_1",), {"fixed": TABLE}, ("D is singular",))


def test_text_is_head_tables_notes():
    assert str(WHOLE).splitlines() == [
        "a model: y ~ x_1",
        "  Fixed effects    estimate",
        "  x_1 & <y>            1.50",
        "  z                  -10.25",
        "D is singular",
    ]


def test_html_and_latex_have_the_same_cells_and_escape_them():
    page = WHOLE._repr_html_()
    assert "x_1 &amp; &lt;y&gt;" in page and "<y>" not in page and page.count("<tr>") == 3
    tex = WHOLE.to_latex()
    assert r"x\_1 \& \textless{}y\textgreater{} & 1.50 \\" in tex and r"\begin{tabular}{lr}" in tex
    assert re.findall(r"\\(top|mid|bottom)rule", tex) == ["top", "mid", "bottom"]


@dataclass(frozen=True, repr=False)
class Result(Shown):
    asked: list
    broken: bool = False

    def summary(self):
        self.asked.append(1)
        if self.broken:
            raise ZeroDivisionError("by hand")
        return WHOLE


def test_a_result_is_summed_up_once():
    result = Result([])
    assert repr(result) == repr(result) == str(result) == str(WHOLE)
    assert result._repr_html_() == WHOLE._repr_html_() and result.asked == [1]


def test_showing_never_raises():
    shown = Result([], broken=True)
    assert repr(shown) == "Result, which cannot be shown: ZeroDivisionError: by hand"
    assert "by hand" in shown._repr_html_()
