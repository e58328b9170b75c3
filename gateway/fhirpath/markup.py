"""The HTML that a narrative may hold (http://hl7.org/fhir/R4/narrative.html#rules, constraints txt-1 and txt-2)."""

import re
from collections.abc import Mapping
from html.entities import name2codepoint
from typing import Final
from xml.parsers import expat

_NAMESPACE: Final = "http://www.w3.org/1999/xhtml"
_ELEMENTS: Final = frozenset(
    re.findall(
        r"\S+",
        "a abbr acronym b big blockquote br caption cite code col colgroup dd del dfn div dl dt em h1 h2 h3 h4 h5 h6 "
        "hr i img ins kbd li ol p pre q s samp small span strike strong sub sup table tbody td tfoot th thead tr tt u "
        "ul var map area bdo",
    )
)
_ATTRIBUTES: Final = frozenset(
    re.findall(
        r"\S+",
        "abbr accesskey align alt axis border bgcolor cellhalign cellpadding cellspacing cellvalign char charoff "
        "charset cite class colspan compact coords dir frame headers height href hreflang hspace id lang longdesc "
        "name nowrap rel rev rowspan rules scope shape span src start style summary tabindex title type valign value "
        "vspace width xml:lang xmlns xml:id",
    )
)
_SCRIPTS: Final = ("javascript:", "vbscript:", "data:text/html")


_ENTITY: Final = re.compile(r"&([A-Za-z][A-Za-z0-9]*);")
_XML: Final = frozenset({"amp", "lt", "gt", "quot", "apos"})


class _NotAllowed(Exception):
    """Something that a narrative may not hold."""


def _character(match: re.Match[str]) -> str:
    """HTML's own entities (`&nbsp;`), which XML does not know."""
    name = match.group(1)
    code = None if name in _XML else name2codepoint.get(name)
    return match.group() if code is None else f"&#{code};"


def _are_allowed(attributes: Mapping[str, str]) -> bool:
    return _ATTRIBUTES.issuperset(attributes) and not any(
        value.strip().lower().startswith(_SCRIPTS) for value in attributes.values()
    )


def is_fhir_html(text: str) -> bool:
    """Whether a text is one well-formed `div` of allowed elements and attributes. Entities are not declared here."""
    parser = expat.ParserCreate(namespace_separator=None)

    def first(name: str, attributes: dict[str, str]) -> None:
        if name != "div" or attributes.get("xmlns", _NAMESPACE) != _NAMESPACE:
            raise _NotAllowed
        parser.StartElementHandler = started
        started(name, attributes)

    def started(name: str, attributes: dict[str, str]) -> None:
        if name not in _ELEMENTS or (attributes and not _are_allowed(attributes)):
            raise _NotAllowed

    def refused(*_what: object) -> None:
        raise _NotAllowed

    parser.StartElementHandler = first
    parser.StartDoctypeDeclHandler = refused
    parser.EntityDeclHandler = refused
    parser.ProcessingInstructionHandler = refused
    try:
        parser.Parse(_ENTITY.sub(_character, text), True)
    except (_NotAllowed, expat.ExpatError):
        return False
    return True  # a text without an element is no XML


def is_fhir_html_inside(text: str) -> bool:
    """Whether a text may stand inside of such a `div`: what a string holds has no root of its own."""
    return is_fhir_html(f"<div>{text}</div>")
