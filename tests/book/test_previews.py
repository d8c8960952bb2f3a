"""Files of previews hold the elements to which other pages lead."""

from tests.notebooks.conftest import load_tool

previews = load_tool("previews")
PAGE = """<section id="a"><h2>A title<a class="headerlink" href="#a">#</a></h2><p>First.</p><p>Second.</p>
<div class="math notranslate" id="equation-e"><span class="eqno">(1)</span>\\[x\\]</div>
<div class="proof theorem admonition" id="thm-t"><p>T</p><div>inner</div></div>
<dl><dt id="term-word">word</dt><dd><p>What it is.</p></dd></dl><p id="par">None.</p>
<span id="sec-b"></span><h3>B</h3><p>Of <span id="place-1"></span>b.</p></section>"""


def test_what_stands_at_an_anchor():
    assert previews.shown(PAGE, "equation-e").endswith("\\[x\\]</div>")
    assert previews.shown(PAGE, "thm-t").endswith("<div>inner</div></div>")
    assert previews.shown(PAGE, "term-word") == '<dl><dt id="term-word">word</dt><dd><p>What it is.</p></dd></dl>'
    assert "A title" in previews.shown(PAGE, "a") and "Second" not in previews.shown(PAGE, "a")
    assert previews.shown(PAGE, "sec-b") == '<div class="heading"><p>B</p></div><p>Of <span id="place-1"></span>b.</p>'
    assert previews.shown(PAGE, "par") == previews.shown(PAGE, "nowhere") == ""


def test_a_preview_has_no_names_of_its_own():
    assert previews.without_marks('<p id="x">a<a class="headerlink" href="#x">#</a></p>') == "<p>a</p>"


def test_files_are_of_pages_to_which_others_lead(tmp_path):
    article = '<article class="bd-article">{}</article>'
    link = '<a class="reference internal" href="../one.html#thm-t">T</a>'
    previews.write({"one.html": article.format(PAGE), "below/two.html": article.format(link)}, tmp_path)
    (file,) = tmp_path.iterdir()
    text = file.read_text(encoding="utf-8")
    assert file.name == "one.js" and text.startswith('bookPreviews("one.html",{"thm-t":') and "equation-e" not in text


def test_most_references_of_the_book_have_a_preview(built):
    files = {path.name: path.read_text(encoding="utf-8") for path in (built / "_static" / "previews").glob("*.js")}
    assert len(files) > 30
    assert '"equation-gls-estimator":' in files["chapters--03-gls.js"]
    assert sum(map(len, files.values())) < 2_000_000
