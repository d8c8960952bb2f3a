"""Each rule of checks.py finds the notebook that breaks it, and passes the one that keeps it."""

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from lmmlib import report
from tests.notebooks import checks


def printed(text, name="stdout"):
    return [new_output("stream", name=name, text=text)]


def unexecuted(notebook):
    notebook.cells[2].execution_count = None


def out_of_order(notebook):
    notebook.cells[2].execution_count, notebook.cells[3].execution_count = 2, 1


def failing(notebook):
    notebook.cells[2].outputs = [new_output("error", ename="ValueError", evalue="no", traceback=[])]


def falsely_tagged(notebook):
    notebook.cells[2].metadata["tags"] = ["raises-exception"]


def without_alt(notebook):
    del notebook.cells[3].metadata["mystnb"]["image"]


def without_caption(notebook):
    notebook.cells[3].metadata["mystnb"]["figure"]["caption"] = " "


def without_name(notebook):
    del notebook.cells[3].metadata["mystnb"]["figure"]["name"]


def two_figures(notebook):
    notebook.cells[3].outputs *= 2


def talking_figure(notebook):
    notebook.cells[3].outputs += printed("[<Line2D>]")


def soft_figure(notebook):
    notebook.cells[3].outputs[0].metadata["image/png"]["width"] = 200


def figure_without_size(notebook):
    notebook.cells[3].outputs[0].metadata = {}


def plain_picture(notebook):
    notebook.cells[0].source += "\n\n![](a.png)"


def picture_without_alt(notebook):
    notebook.cells[0].source += "\n\n:::{figure} a.png\n:name: fig-a\nA caption\n:::"


def backtick_directive(notebook):
    notebook.cells[1].source += "\n\n```{note}\nA note.\n```"


def crowded_directive(notebook):
    notebook.cells[1].source += "\n\n:::{prf:lemma} L\n:label: lem-l\nIt is so.\n:::"


def crowded_formula(notebook):
    notebook.cells[1].source += "\n\nIt is\n$$\nx = y\n$$\n"


def full_precision(notebook):
    notebook.cells[2].outputs = printed("29.632698412698\n")


def address(notebook):
    notebook.cells[2].outputs = [
        new_output("execute_result", data={"text/plain": "<Axes at 0x7f3b2c>"}, execution_count=1)
    ]


def warning(notebook):
    notebook.cells[2].outputs = printed("RuntimeWarning: overflow\n", "stderr")


def long_cell(notebook):
    notebook.cells[2].source = "\n".join(["x = 1"] * 26)


def no_title(notebook):
    notebook.cells[0].source = "Text without a title."


def two_titles(notebook):
    notebook.cells[1].source += "\n\n# Another title\n"


def no_solution(notebook):
    notebook.cells[1].source = ":::{exercise}\n:label: ex-99-1\n\nAdd.\n:::"


def magic(notebook):
    notebook.cells[2].source = "%matplotlib inline"


def lost_table(notebook):
    notebook.cells[2].source = "report.table(rows)\nreport.show('n', 3)"


def same_id(notebook):
    notebook.cells[2]["id"] = notebook.cells[1]["id"]


def prediction(title="Predict: does it rise?", options=":class: predict dropdown\n", answer="It falls, as it must."):
    return f":::{{admonition}} {title}\n{options}\n{answer}\n:::"


def unanswered_prediction(notebook):
    notebook.cells[1].source += "\n\n" + prediction(answer="")


def open_prediction(notebook):
    notebook.cells[1].source += "\n\n" + prediction(options=":class: predict\n")


def long_prediction(notebook):
    notebook.cells[1].source += "\n\n" + prediction("Predict: " + "does it rise " * 8 + "?")


def late_prediction(notebook):
    notebook.cells.append(new_markdown_cell(prediction(), id="late"))


BROKEN = {
    unanswered_prediction: checks.predictions_can_be_made,
    open_prediction: checks.predictions_can_be_made,
    long_prediction: checks.predictions_can_be_made,
    late_prediction: checks.predictions_can_be_made,
    unexecuted: checks.executed_in_order,
    out_of_order: checks.executed_in_order,
    failing: checks.no_errors,
    falsely_tagged: checks.no_errors,
    without_alt: checks.figures_are_described,
    without_caption: checks.figures_are_described,
    without_name: checks.figures_are_described,
    two_figures: checks.figures_are_described,
    talking_figure: checks.figures_are_described,
    soft_figure: checks.figures_are_sharp,
    figure_without_size: checks.figures_are_sharp,
    plain_picture: checks.images_in_text_are_described,
    picture_without_alt: checks.images_in_text_are_described,
    backtick_directive: checks.directives_have_colon_fences,
    crowded_directive: checks.directives_have_colon_fences,
    crowded_formula: checks.formulas_stand_apart,
    full_precision: checks.numbers_are_rounded,
    address: checks.no_addresses,
    warning: checks.nothing_on_stderr,
    long_cell: checks.cells_are_short,
    no_title: checks.starts_with_a_title,
    two_titles: checks.starts_with_a_title,
    no_solution: checks.exercises_have_solutions,
    magic: checks.source_parses,
    lost_table: checks.tables_are_shown,
    same_id: checks.one_name_per_thing,
}


def test_every_rule_has_a_notebook_that_breaks_it():
    assert set(BROKEN.values()) == set(checks.CHECKS)


@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__)
def test_a_good_notebook_passes(good, check):
    assert check(good) == []


@pytest.mark.parametrize("damage", BROKEN, ids=lambda damage: damage.__name__)
def test_a_broken_notebook_is_found(good, damage):
    damage(good)
    assert len(BROKEN[damage](good)) == 1


def test_an_error_that_is_meant_passes(good):
    failing(good)
    falsely_tagged(good)
    assert checks.no_errors(good) == []


def test_too_few_exercises(good):
    assert checks.exercises_have_solutions(good, 1) == []
    assert checks.exercises_have_solutions(good, 2) == ["1 exercises, fewer than 2"]


def test_a_prediction_may_be_asked_before_the_output(good):
    good.cells[1].source += "\n\n" + prediction()
    assert checks.predictions_can_be_made(good) == []


def test_foreign_metadata_is_removed(good, execute):
    before = execute.as_text(execute.normalise(good))
    good.metadata["widgets"] = {"state": 1}
    good.metadata["language_info"]["version"] = "3.11.9"
    good.cells[2].metadata["execution"] = {"iopub.status.busy": "2026-01-01"}
    good.cells[2].metadata["tags"] = []
    assert execute.as_text(good) != before
    assert execute.as_text(execute.normalise(good)) == before


def output_of_reproduction(capsys):
    """What lmmlib.report itself prints for the first two rows of the ledger that have a plain value."""
    from lmmlib.book import datasets

    rows = datasets.published()
    rows = rows[rows["kind"] == "exact"].head(2)
    report.reproduces(rows["id"].iloc[0], float(rows["printed"].iloc[0]))
    table = report.reproduction_table({rows["id"].iloc[1]: float(rows["printed"].iloc[1])})
    return list(rows["id"]), capsys.readouterr().out, table


def test_reproduced_reads_what_report_prints(good, capsys):
    ids, line, table = output_of_reproduction(capsys)
    good.cells[2].outputs = printed(line)
    shown = new_output(
        "execute_result",
        data={"text/html": table._repr_html_(), "text/plain": repr(table)},
        execution_count=3,
    )
    good.cells.append(new_code_cell("table", execution_count=3, outputs=[shown]))
    assert checks.reproduced(good) == set(ids)


def test_reproduced_needs_a_verdict_that_was_compared(good, capsys):
    ids, line, _ = output_of_reproduction(capsys)
    good.cells.append(new_markdown_cell(line))
    assert checks.reproduced(good) == set()
    good.cells[2].outputs = printed(line.replace("agrees", "DISAGREES"))
    assert checks.reproduced(good) == set()
    good.cells[2].outputs = printed(line)
    good.cells[2].metadata["tags"] = ["nbval-ignore-output"]
    assert checks.reproduced(good) == set()
