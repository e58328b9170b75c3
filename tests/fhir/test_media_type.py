import pytest

from gateway.errors import MediaTypeNotSupported, NotAcceptable
from gateway.fhir.media_type import accept, content_type, form_content_type


@pytest.mark.parametrize(
    "value",
    [
        "application/fhir+json",
        "application/json",
        "Application/FHIR+JSON",
        " application/fhir+json\t",
        "application/fhir+json;charset=utf-8",
        "application/fhir+json; charset=UTF-8",
        'application/fhir+json ; Charset="utf-8"',
        "application/fhir+json; fhirVersion=4.0; charset=utf-8",
    ],
)
def test_fhir_json_in_utf_8_is_read(value: str) -> None:
    content_type([value])
    assert value


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([], "exactly one"),
        (["application/json", "application/json"], "exactly one"),
        ([""], "cannot be read"),
        (["json"], "cannot be read"),
        (["application/fhir+xml"], "XML"),
        (["text/xml; charset=utf-8"], "XML"),
        (["text/json"], "application/fhir+json"),
        (["application/json+fhir"], "application/fhir+json"),
        (["text/plain"], "application/fhir+json"),
        (["application/x-www-form-urlencoded"], "application/fhir+json"),
        (["application/json-patch+json"], "application/fhir+json"),
        (["application/json, application/fhir+xml"], "parameters"),
        (["text/plain, application/fhir+xml"], "parameters"),
        (["application/json; charset=utf-16"], "UTF-8"),
        (["application/json; charset=ISO-8859-1"], "UTF-8"),
        (["application/json; charset=IBM037"], "UTF-8"),
        (['application/json; charset=""'], "UTF-8"),
        (["application/json; charset=utf-8; charset=utf-8"], "twice"),
        (["application/json; charset=utf-8; CHARSET=utf-16"], "twice"),
        (["application/json; fhirVersion=5.0"], "4.0"),
        (["application/json; profile=x"], "parameters"),
        (["application/json;"], "parameters"),
        (["application/json; charset"], "parameters"),
        (["application/json; charset=utf-8, text/plain"], "parameters"),
        (['application/json; charset="utf\\-8"'], "parameters"),
    ],
)
def test_everything_else_is_refused_with_its_reason(values: list[str], says: str) -> None:
    with pytest.raises(MediaTypeNotSupported) as caught:
        content_type(values)
    assert says in caught.value.issues[0].text


def test_the_version_is_that_of_the_release() -> None:
    content_type(["application/fhir+json; fhirVersion=5.0"], release="R5")
    with pytest.raises(MediaTypeNotSupported):
        content_type(["application/fhir+json; fhirVersion=4.0"], release="R5")


def test_a_search_form_is_a_form() -> None:
    form_content_type(["application/x-www-form-urlencoded"])
    form_content_type(["application/x-www-form-urlencoded; charset=UTF-8"])
    refused: list[list[str]] = [
        [],
        ["application/json"],
        ["application/x-www-form-urlencoded; charset=latin1"],
        ["application/x-www-form-urlencoded; a=b"],
    ]
    for values in refused:
        with pytest.raises(MediaTypeNotSupported):
            form_content_type(values)


@pytest.mark.parametrize(
    ("values", "formats"),
    [
        ([], []),
        ([""], []),
        (["*/*"], []),
        (["application/*"], []),
        (["application/json"], []),
        (["text/html, application/fhir+json;q=0.1"], []),
        (["text/html", "application/fhir+json; fhirVersion=4.0"], []),
        (["application/json;q=0, */*"], []),
        (["application/fhir+json;q=0", "application/fhir+json"], []),
        (["*/*;q=0, application/*;q=0", "application/fhir+json; q=0.5"], []),
        (["application/*;q=0, application/json"], []),
        (["application/xml"], ["json"]),
        (["application/xml"], ["application/fhir+json"]),
        ([], ["application/json; fhirVersion=4.0"]),
        ([], ["JSON"]),
    ],
)
def test_json_is_acceptable(values: list[str], formats: list[str]) -> None:
    accept(values, formats)
    assert accept.__doc__


@pytest.mark.parametrize(
    ("values", "formats"),
    [
        (["text/html"], []),
        (["application/fhir+xml"], []),
        (["application/json;q=0"], []),
        (["application/json; q=0.000"], []),
        (["json"], []),
        (["application/fhir+json;q=0, */*"], []),
        (["application/fhir+json;q=0, application/json"], []),
        (["*/*", "application/*;q=0"], []),
        ([], ["xml"]),
        (["application/json"], ["html/json"]),
        ([], ["json", "xml"]),
        ([], ["json", "json"]),
        ([], [""]),
    ],
)
def test_json_is_not_acceptable(values: list[str], formats: list[str]) -> None:
    with pytest.raises(NotAcceptable):
        accept(values, formats)
