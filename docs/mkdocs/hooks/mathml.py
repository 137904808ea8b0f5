"""Formulas become MathML when the site is built, so that readers need no script and no network."""

import html
import re

from latex2mathml.converter import convert

_FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\(?P<open>[(\[])(?P<latex>.*?)\\[)\]]</(?P=tag)>',
    re.DOTALL,
)
# What pages may write and the converter does not know.
_SPELLINGS = {
    r"\circ": "∘",
    r"\operatorname": r"\mathrm",
    r"\log ": r"\log\,",
    "{aligned}": "{align*}",
}


def _replace(match: re.Match) -> str:
    latex = html.unescape(match["latex"]).strip()
    for ours, theirs in _SPELLINGS.items():
        latex = latex.replace(ours, theirs)
    block = match["open"] == "["
    markup = convert(latex, display="block" if block else "inline")
    return f'<div class="formula">{markup}</div>' if block else markup


def on_page_content(content: str, **_) -> str:
    """Replace every formula of a page."""
    return _FORMULA.sub(_replace, content)
