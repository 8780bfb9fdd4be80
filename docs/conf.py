"""Settings of Sphinx; `docs/build.py` lays out what it reads."""

from __future__ import annotations

import re

import biglearn_core

project = "BigLearn-EM"
author = "the biglearn-em maintainers"
version = release = biglearn_core.__version__

extensions = ["sphinx.ext.autodoc", "numpydoc", "myst_nb"]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb", ".ipynb": "myst-nb"}
exclude_patterns: list[str] = []
nitpicky = False

nb_execution_mode = "off"
nb_merge_streams = True
myst_heading_anchors = 4
suppress_warnings = ["config.cache"]

default_role = "py:obj"  # a link where there is something of the name, else code
toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"  # the docstrings tell types, with shapes and units
autodoc_member_order = "groupwise"
autodoc_class_signature = "mixed"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "pydata_sphinx_theme"
html_title = "BigLearn-EM"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/icon.svg"
html_extra_path = ["report"]
html_context = {"default_mode": "auto"}
html_sidebars = {name: [] for name in ("index", "install", "method")}  # nothing stands below them
html_show_sourcelink = False
html_copy_source = False
html_last_updated_fmt = None
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 8,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_toc_level": 2,
}
copyright = "the biglearn-em maintainers, MIT License"

# Bookkeeping of scikit-learn that nobody calls by hand.
_BOOKKEEPING = re.compile(r"set_\w+_request|get_metadata_routing|unchecked")

# A picture in a file of its own that is no link yet.
_PICTURE = re.compile(r'(?<!image-reference">)(<img [^>]*src="(?!data:)([^"]+)"[^>]*>)')


def _skip(app, what, name, member, skip, options):
    return True if _BOOKKEEPING.fullmatch(name) else None


def _without_foreign_references(app, what, name, member, options, lines):
    """Turn references and formulas of scikit-learn's own docstrings, inherited, into words.

    Its pages are not here, and a formula would load its typesetter from elsewhere.
    """
    for position, line in enumerate(lines):
        line = re.sub(r":ref:`([^<`]+?)\s*<[^>`]*>`", r"\1", line)
        line = re.sub(r":(?:ref|term):`([^`]+)`", r"\1", line)
        lines[position] = re.sub(r":math:`([^`]+)`", r"``\1``", line)


def _finish(app, page, template, context, doctree):
    """Make pictures links to their files, and give the first page a title of its own.

    Three panels side by side are small on a telephone; a file by itself can be enlarged there. The
    name of a file is no text for those who cannot see it.
    """
    if "body" in context:
        body = re.sub(r'(?<= alt=")[^"]*_images/[^"]*', "Figure", context["body"])
        context["body"] = _PICTURE.sub(r'<a class="picture" href="\2">\1</a>', body)
    if page == "index":
        context["title"] = "Gaussian mixtures"


def setup(app):
    """Connect what this file defines."""
    app.connect("html-page-context", _finish)
    app.connect("autodoc-skip-member", _skip)
    app.connect("autodoc-process-docstring", _without_foreign_references)
