"""FHIR in XML as FHIR in JSON (http://hl7.org/fhir/R4/json.html); the element model knows what repeats."""

from collections.abc import Iterator
from xml.etree import ElementTree as ET

from gateway.fhir.json import Json, JsonObject
from gateway.fhirpath.model import Model, load

_FHIR = "{http://hl7.org/fhir}"
_XHTML = "{http://www.w3.org/1999/xhtml}"
_NUMBERS = frozenset({"integer", "positiveInt", "unsignedInt"})


def read(text: bytes, release: str) -> JsonObject:
    """The resource of an XML document; the names are those of the release (`R4`)."""
    ET.register_namespace("", _XHTML[1:-1])
    return _resource(ET.fromstring(text), load(release))


def _resource(element: ET.Element, model: Model) -> JsonObject:
    name = element.tag.removeprefix(_FHIR)
    return {"resourceType": name, **_complex(element, name, model)}


def _complex(element: ET.Element, type_name: str, model: Model) -> JsonObject:
    found: JsonObject = {name: value for name, value in element.attrib.items() if name in ("id", "url")}
    for key, children in _grouped(element):
        child_type, many = _type(type_name, key, model)
        values = [_value(child, child_type, model) for child in children]
        plain, extra = [value for value, _ in values], [sibling for _, sibling in values]
        if any(value is not None for value in plain):
            found[key] = plain if many else plain[0]
        if any(extra):
            found[f"_{key}"] = extra if many else extra[0]
    return found


def _grouped(element: ET.Element) -> Iterator[tuple[str, list[ET.Element]]]:
    by_name: dict[str, list[ET.Element]] = {}
    for child in element:
        by_name.setdefault(child.tag.rpartition("}")[2], []).append(child)
    yield from by_name.items()


def _type(owner: str, key: str, model: Model) -> tuple[str, bool]:
    choice = model.choice_of(owner, key)
    member = model.member(owner, key if choice is None else choice[0])
    assert member is not None, f"{owner} has no element {key}"
    return (member.types[0] if choice is None else choice[1]), member.many


def _value(element: ET.Element, type_name: str, model: Model) -> tuple[Json, Json]:
    """The value and its `_` sibling."""
    if type_name == "xhtml":
        return ET.tostring(element, encoding="unicode").strip(), None
    if type_name in ("Resource", "DomainResource"):
        return _resource(element[0], model), None
    if type_name not in model.primitives:
        return _complex(element, type_name, model), None
    text = element.get("value")
    return (None if text is None else _primitive(text, type_name)), _complex(element, type_name, model) or None


def _primitive(text: str, type_name: str) -> Json:
    if type_name == "boolean":
        return text == "true"
    if type_name in _NUMBERS:
        return int(text)
    return float(text) if type_name == "decimal" else text
