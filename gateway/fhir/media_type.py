"""Which media types are read and written (http://hl7.org/fhir/R4/http.html#mime-type)."""

import re
from collections.abc import Sequence
from typing import NoReturn

from gateway.errors import Issue, IssueCode, MediaTypeNotSupported, NotAcceptable

FHIR_JSON = "application/fhir+json"
_JSON = frozenset({FHIR_JSON, "application/json"})
_XML = frozenset({"application/fhir+xml", "application/xml", "text/xml", "application/xml+fhir"})
_FHIR_VERSIONS = {"R4": "4.0", "R4B": "4.3", "R5": "5.0"}

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 (RFC 9110 section 5.6.2)
_PARAMETER = re.compile(rf'[ \t]*;[ \t]*({_TOKEN})=(?:({_TOKEN})|"([^"\\]*)")')
_ESSENCE = re.compile(rf"{_TOKEN}/{_TOKEN}")
_RANGE = re.compile(rf"[ \t]*((?:{_TOKEN})/(?:{_TOKEN}))((?:{_PARAMETER.pattern})*)[ \t]*")
# The values of `_format` that R4 lists for JSON, and `*/*`.
_JSON_FORMATS = _JSON | {"json", "text/json", "*/*"}


def content_type(values: Sequence[str], *, release: str = "R4") -> None:
    """Checks that the body is FHIR JSON in UTF-8; raises MediaTypeNotSupported.

    `values` holds every Content-Type line. HAPI takes the first of several, honours any charset and ignores
    `fhirVersion`, so all three are refused here when they say anything else than what is judged.
    """
    if len(values) != 1:
        _refuse("Send exactly one Content-Type header: application/fhir+json.")
    essence, parameters = _parse(values[0])
    if essence in _XML:
        _refuse("XML is not supported; send application/fhir+json.")
    if essence not in _JSON:
        _refuse("Send application/fhir+json or application/json.")
    expected = {"charset": "utf-8", "fhirversion": _FHIR_VERSIONS[release]}
    for name, value in parameters.items():
        if name not in expected:
            _refuse("The Content-Type takes no parameters but charset and fhirVersion.")
        if value.lower() != expected[name]:
            _refuse(f"The only charset is UTF-8 and the only fhirVersion is {expected['fhirversion']}.")


def form_content_type(values: Sequence[str]) -> None:
    """Checks that a search by POST carries a form in UTF-8; raises MediaTypeNotSupported."""
    if len(values) != 1:
        _refuse("Send exactly one Content-Type header: application/x-www-form-urlencoded.")
    essence, parameters = _parse(values[0])
    if essence != "application/x-www-form-urlencoded":
        _refuse("A search by POST takes application/x-www-form-urlencoded.")
    if any((name, value.lower()) != ("charset", "utf-8") for name, value in parameters.items()):
        _refuse("A form takes no parameter but charset=utf-8.")


def accept(values: Sequence[str], formats: Sequence[str] = ()) -> None:
    """Checks that the client takes FHIR JSON; raises NotAcceptable.

    `values` holds every Accept line, `formats` the decoded values of `_format`, which overrides Accept
    (http://hl7.org/fhir/R4/http.html#parameters).
    """
    if formats:
        if len(formats) != 1 or formats[0].split(";", 1)[0].strip().lower() not in _JSON_FORMATS:
            raise NotAcceptable(_unacceptable("The only _format is json."))
        return
    listed = [item for value in values for item in value.split(",") if item.strip()]
    if listed and not _takes_json(listed):
        raise NotAcceptable(_unacceptable("The gateway answers in application/fhir+json only."))


def _takes_json(listed: Sequence[str]) -> bool:
    """Whether the media ranges take FHIR JSON: the most specific one that fits decides (RFC 9110 section 12.5.1)."""
    taken: dict[str, bool] = {}
    for match in filter(None, map(_RANGE.fullmatch, listed)):
        quality = re.search(r";[ \t]*q=([0-9.]+)", match[2], re.IGNORECASE)
        refused = quality is not None and not quality[1].strip("0.")
        taken[match[1].lower()] = not refused or taken.get(match[1].lower(), False)
    if taken.get("application/json") and FHIR_JSON not in taken:
        return True  # http://hl7.org/fhir/R4/http.html#mime-type: the generic type asks for FHIR's
    return next((taken[media] for media in (FHIR_JSON, "application/*", "*/*") if media in taken), False)


def _parse(value: str) -> tuple[str, dict[str, str]]:
    match = _ESSENCE.match(value.strip(" \t"))
    if match is None:
        _refuse("The Content-Type cannot be read.")
    rest = value.strip(" \t")[match.end() :]
    parameters: dict[str, str] = {}
    while rest:
        parameter = _PARAMETER.match(rest)
        if parameter is None or parameter[1].lower() in parameters:
            _refuse("The parameters of the Content-Type cannot be read, or one is there twice.")
        parameters[parameter[1].lower()] = parameter[2] or parameter[3] or ""
        rest = rest[parameter.end() :]
    return match[0].lower(), parameters


def _refuse(text: str) -> NoReturn:
    raise MediaTypeNotSupported(Issue(code=IssueCode.NOT_SUPPORTED, text=text))


def _unacceptable(text: str) -> Issue:
    return Issue(code=IssueCode.NOT_SUPPORTED, text=text)
