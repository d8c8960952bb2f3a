"""Next to each equation of the chapters, links to the functions of lmmlib that compute it.

A docstring names equations with ``:eq:`label```, which Sphinx turns into links to the chapters. The way back is
collected here from the same roles, and written below the equation as a line "In code: ...". HTML only.
"""

from collections import defaultdict

from docutils import nodes
from sphinx.addnodes import desc, desc_signature, pending_xref


def owner(role):
    """What the docstring around a role documents, (name, anchor): a function, a class, or a module."""
    node = role
    while node is not None:
        if isinstance(node, desc):
            signature = next(node.findall(desc_signature), None)
            if signature is not None and signature.get("ids"):
                return signature["ids"][0], signature["ids"][0]
        module = next((id for id in node.get("ids", []) if id.startswith("module-")), None)
        if module is None and isinstance(node, nodes.section):
            marks = [id for mark in node.findall(nodes.target) for id in mark["ids"] if id.startswith("module-")]
            module = marks[0] if len(marks) == 1 else None
        if module:
            return module.removeprefix("module-"), module
        node = node.parent
    return None


def collect(app, doctree):
    """Note which equations the docstrings of this page name: {page: [(label, name, anchor)]}."""
    env = app.env
    found = []
    for role in doctree.findall(pending_xref):
        if role.get("refdomain") == "math" and role.get("reftype") == "eq":
            named = owner(role)
            if named and named[0].startswith("lmmlib."):
                found.append((role["reftarget"], *named))
    pages(env)[env.docname] = found


def pages(env):
    if not hasattr(env, "equations_named"):
        env.equations_named = {}
    return env.equations_named


def purge(app, env, docname):
    pages(env).pop(docname, None)


def merge(app, env, docnames, other):
    pages(env).update({name: pages(other)[name] for name in docnames if name in pages(other)})


def written_again(app, env):
    """The pages with equations that docstrings name: their lines change with the docstrings."""
    labels = {label for found in pages(env).values() for label, _, _ in found}
    equations = env.get_domain("math").equations
    return sorted({equations[label][0] for label in labels if label in equations})


def by_label(env):
    """{label: [(name, page, anchor)]}, each function once, in the order of the reference."""
    named = defaultdict(dict)
    for page, found in sorted(pages(env).items()):
        for label, name, anchor in found:
            named[label].setdefault(name, (name, page, anchor))
    return {label: list(functions.values()) for label, functions in named.items()}


def add_lines(app, doctree, docname):
    """Below each equation of the page that docstrings name, a line that leads to them."""
    if app.builder.format != "html":
        return
    functions = by_label(app.env)
    for equation in list(doctree.findall(nodes.math_block)):
        named = functions.get(equation.get("label") or "", [])
        if named and not inside_documentation(equation):
            equation.parent.insert(equation.parent.index(equation) + 1, line(app, docname, named))


def inside_documentation(node):
    while node is not None:
        if isinstance(node, desc):
            return True
        node = node.parent
    return False


def nearest(function):
    """First what says the formula most directly, the room of equations; last the twins with full matrices."""
    room, module = function[0].split(".")[1:3]
    return module == "dense", room != "equations"


def links(app, docname, named):
    """The names, each a link, with commas between."""
    for k, (name, page, anchor) in enumerate(named):
        link = nodes.reference("", "", internal=True, classes=["reference"])
        link["refuri"] = f"{app.builder.get_relative_uri(docname, page)}#{anchor}"
        link += nodes.literal(text=name)
        yield from [nodes.Text(", ")] * (k > 0)
        yield link


def line(app, docname, named):
    """Two names are shown, the others on demand."""
    named = sorted(named, key=nearest)
    shown, folded = (named[:2], named[2:]) if len(named) > 3 else (named, [])
    division = nodes.line(classes=["in-code"])
    division += [nodes.Text("In code: "), *links(app, docname, shown)]
    if folded:
        before = f" <details><summary>and {len(folded)} more</summary>: "
        division += [nodes.raw("", before, format="html"), *links(app, docname, folded)]
        division += nodes.raw("", "</details>", format="html")
    return division


def setup(app):
    app.connect("doctree-read", collect)
    app.connect("env-purge-doc", purge)
    app.connect("env-merge-info", merge)
    app.connect("env-updated", written_again)
    app.connect("doctree-resolved", add_lines)
