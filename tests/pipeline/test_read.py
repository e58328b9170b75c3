"""Reads through the whole line: forwarded within scopes, links of the public base, nothing else."""

from pathlib import Path

import pytest

from gateway.pipeline.read import encoded
from tests.pipeline.rig import FHIR, LAB, Rig, observation, rigged


async def test_a_read_is_the_servers_own_answer(rig: Rig) -> None:
    direct = await rig.send("GET", "Patient/member")
    assert direct.status_code == 200
    assert direct.json()["id"] == "member"
    assert direct.headers["etag"] == 'W/"1"'


async def test_vread_and_history(rig: Rig) -> None:
    assert (await rig.send("GET", "Patient/member/_history/1")).json()["meta"]["versionId"] == "1"
    history = await rig.send("GET", "Patient/member/_history")
    assert history.json()["type"] == "history"
    assert (await rig.send("GET", "Patient/_history")).status_code == 200


async def test_search_by_get_and_by_post_speak_of_the_public_base(rig: Rig) -> None:
    made = (await rig.create(observation())).json()
    by_get = await rig.send("GET", "Observation?subject=Patient/member")
    form = {"content-type": "application/x-www-form-urlencoded"}
    by_post = await rig.send("POST", "Observation/_search", b"subject=Patient/member", headers=form)
    for answer in (by_get, by_post):
        assert answer.status_code == 200
        assert [entry["fullUrl"] for entry in answer.json()["entry"]] == [f"{rig.base}/Observation/{made['id']}"]
        assert rig.upstream_base not in answer.text


async def test_a_further_page_is_read_and_held_to_the_scopes(rig: Rig) -> None:
    for _ in range(3):
        await rig.create(observation())
    first = await rig.send("GET", "Observation?subject=Patient/member&_count=2")
    following = next(link["url"] for link in first.json()["link"] if link["relation"] == "next")
    assert following.startswith(rig.base)
    path = following.removeprefix(rig.base).removeprefix("/")
    assert len((await rig.send("GET", path)).json()["entry"]) == 1


async def test_not_modified(rig: Rig) -> None:
    answer = await rig.send("GET", "Patient/member", headers={"if-none-match": 'W/"1"'})
    assert answer.status_code in (200, 304)


@pytest.mark.parametrize(
    ("path", "scope", "status"),
    [
        ("Patient/member", "system/Patient.r", 200),
        ("Patient/member", "system/Patient.s", 403),
        ("Patient/member", "system/Observation.rs", 403),
        ("Patient/member", "system/Patient.read", 200),
        ("Patient/_history", "system/Patient.r", 403),
        ("Patient?_id=member", "system/Patient.r", 403),
        ("Patient?_id=member", "system/Patient.s", 200),
        ("Observation?_include=Observation:subject", "system/Observation.rs", 403),
        ("Observation?subject.name=x", "system/Observation.rs", 403),
        ("Observation?_has:Observation:subject:code=x", "system/Observation.rs", 403),
        ("Observation", "system/Observation.s?category=x", 403),
        ("Patient/member/_history", "system/Patient.r?gender=male", 403),
    ],
)
async def test_scopes_bound_reads(rig: Rig, path: str, scope: str, status: int) -> None:
    assert (await rig.send("GET", path, claims={"scope": scope})).status_code == status


async def test_a_filtered_scope_is_held_against_the_resource_that_is_read(rig: Rig) -> None:
    made = (await rig.create(observation())).json()
    path = f"Observation/{made['id']}"
    assert (await rig.send("GET", path, claims={"scope": "system/Observation.r?status=final"})).status_code == 200
    refused = await rig.send("GET", path, claims={"scope": "system/Observation.r?status=amended"})
    assert refused.status_code == 403
    assert "HbA1c" not in refused.text


async def test_a_patient_scope_reads_its_own_patient_only(rig: Rig) -> None:
    claims = {"scope": "patient/Patient.rs patient/Observation.rs", "patient": "member"}
    assert (await rig.send("GET", "Patient/member", claims=claims)).status_code == 200
    assert (await rig.send("GET", "Patient/stranger", claims=claims)).status_code == 403
    assert (await rig.send("GET", "Observation?subject=Patient/member", claims=claims)).status_code == 200
    assert (await rig.send("GET", "Observation?subject=Patient/stranger", claims=claims)).status_code == 403
    assert (await rig.send("GET", "Observation", claims=claims)).status_code == 403
    assert (await rig.send("GET", "Patient/member/_history", claims=claims)).status_code == 403


async def test_metadata_tells_what_is_let_through_and_needs_no_token(rig: Rig) -> None:
    answer = await rig.client.get(f"{rig.base}/metadata")
    statement = answer.json()
    assert answer.headers["content-type"].startswith(FHIR)
    assert statement["implementation"]["url"] == rig.base
    rest = statement["rest"][0]
    assert "interaction" not in rest
    codes = {each["type"]: {i["code"] for i in each["interaction"]} for each in rest["resource"]}
    assert {"create", "update"} <= codes["Observation"]
    assert not {"create", "update", "delete", "patch"} & codes["Encounter"]
    assert rest["security"]["service"][0]["coding"][0]["code"] == "SMART-on-FHIR"


async def test_smart_configuration_needs_no_token(rig: Rig) -> None:
    answer = await rig.client.get(f"{rig.base}/.well-known/smart-configuration")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["token_endpoint"] == rig.issuer.token_endpoint


async def test_reads_can_be_refused(tmp_path: Path) -> None:
    async with rigged(tmp_path, {"lab": LAB}, extra="reads: refuse\n") as rig:
        assert (await rig.send("GET", "Patient/member")).status_code == 405
        statement = (await rig.client.get(f"{rig.base}/metadata")).json()
        assert [each["type"] for each in statement["rest"][0]["resource"]] == ["Observation"]


async def test_xml_cannot_be_had(rig: Rig) -> None:
    assert (await rig.send("GET", "Patient/member", headers={"accept": "application/fhir+xml"})).status_code == 406
    assert (await rig.send("GET", "Patient?_format=xml")).status_code == 406


async def test_head(rig: Rig) -> None:
    answer = await rig.send("HEAD", "Patient/member")
    assert answer.status_code == 200
    assert answer.content == b""


async def test_a_filtered_or_patient_scope_never_opens_other_types_to_an_include(rig: Rig) -> None:
    claims = {"scope": "system/Observation.s patient/*.s", "patient": "member"}
    refused = await rig.send("GET", "Observation?_include=Observation:subject", claims=claims)
    assert refused.status_code == 403
    assert (await rig.send("GET", "Observation?status=final", claims=claims)).status_code == 200


async def test_a_page_is_held_to_patient_scopes_resource_by_resource(rig: Rig) -> None:
    for _ in range(3):
        await rig.create(observation())
    first = await rig.send("GET", "Observation?subject=Patient/member&_count=2")
    following = next(link["url"] for link in first.json()["link"] if link["relation"] == "next")
    path = following.removeprefix(rig.base).removeprefix("/")
    own = {"scope": "patient/Observation.s", "patient": "member"}
    assert (await rig.send("GET", path, claims=own)).status_code == 200
    assert (await rig.send("GET", path, claims=own | {"patient": "stranger"})).status_code == 403


async def test_a_quote_in_a_search_reaches_the_server_encoded(rig: Rig) -> None:
    """Without it the exchange could not be made as judged, and the search would end with 503."""
    answer = await rig.send("GET", "Patient?identifier=urn:x|O'Brien")
    assert answer.status_code == 200
    assert encoded("name=O'Brien|x&a=%27") == "name=O%27Brien|x&a=%27"
