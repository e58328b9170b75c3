"""What this gateway lets through, told as FHIR and SMART tell it: pure corrections of upstream's statement."""

import json
from collections.abc import Mapping, Sequence

from gateway.fhir.json import Json, JsonObject

_READS = ("read", "vread", "history-instance", "history-type", "search-type")
# What the gateway judges in a different way, or not at all, must not be promised (hapi-facts 75).
_NOT_OFFERED = ("operation", "conditionalUpdate", "conditionalDelete", "conditionalRead", "conditionalPatch")


def corrected(
    statement: JsonObject, *, public_url: str, writes: Mapping[str, Sequence[str]], reads: bool
) -> JsonObject:
    """The upstream's CapabilityStatement with `url`, `rest.security` and only what the gateway lets through.

    `writes` maps a resource type to the writes (`create`, `update`) that some policy permits. `*` stands for
    every type.
    """
    out = dict(statement)
    out["url"] = f"{public_url}/metadata"
    out["implementation"] = {"description": "FHIR policy gateway", "url": public_url}
    out["format"] = ["application/fhir+json", "json"]
    out.pop("patchFormat", None)
    rests = statement.get("rest")
    servers = [each for each in rests if isinstance(each, dict)] if isinstance(rests, list) else []
    out["rest"] = [_rest(each, writes, reads=reads) for each in servers if each.get("mode") == "server"]
    return out


def _rest(rest: JsonObject, writes: Mapping[str, Sequence[str]], *, reads: bool) -> JsonObject:
    out: JsonObject = {
        "mode": "server",
        "security": {
            "cors": False,
            "service": [
                {
                    "coding": [
                        {
                            "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                            "code": "SMART-on-FHIR",
                        }
                    ]
                }
            ],
            "description": "Bearer tokens of the configured issuers; see .well-known/smart-configuration.",
        },
    }
    listed = rest.get("resource")
    resources: list[Json] = [
        offered
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, dict) and (offered := _resource(each, writes, reads=reads)) is not None
    ]
    out["resource"] = resources
    return out


def _resource(resource: JsonObject, writes: Mapping[str, Sequence[str]], *, reads: bool) -> JsonObject | None:
    type_ = resource.get("type")
    permitted = {*writes.get("*", ()), *(writes.get(type_, ()) if isinstance(type_, str) else ())}
    offered = {*permitted, *(_READS if reads else ())}
    listed = resource.get("interaction")
    interactions: list[Json] = [
        each
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, dict) and each.get("code") in offered
    ]
    if not interactions:
        return None
    out = {key: value for key, value in resource.items() if key not in _NOT_OFFERED}
    out["interaction"] = interactions
    if "create" not in permitted:
        out.pop("conditionalCreate", None)
    if "update" not in permitted:
        out.pop("updateCreate", None)
    if not reads:
        for key in ("searchParam", "searchInclude", "searchRevInclude", "readHistory"):
            out.pop(key, None)
    return out


def smart_configuration(metadata: Sequence[Mapping[str, object]], *, algorithms: Sequence[str]) -> bytes:
    """`.well-known/smart-configuration` (SMART App Launch 2.2, Conformance): the first issuer's endpoints.

    `metadata` are the issuers' discovery documents, empty ones where an issuer has only a `jwks_uri`.
    """
    first = metadata[0] if metadata else {}
    out: dict[str, object] = {
        key: first[key]
        for key in ("issuer", "jwks_uri", "authorization_endpoint", "token_endpoint", "introspection_endpoint")
        if key in first
    }
    out["grant_types_supported"] = first.get("grant_types_supported", ["client_credentials"])
    out["token_endpoint_auth_methods_supported"] = first.get(
        "token_endpoint_auth_methods_supported", ["private_key_jwt"]
    )
    out["token_endpoint_auth_signing_alg_values_supported"] = list(algorithms)
    out["code_challenge_methods_supported"] = ["S256"]
    out["scopes_supported"] = ["system/*.cruds", "user/*.cruds", "patient/*.cruds"]
    out["capabilities"] = ["client-confidential-asymmetric", "permission-v1", "permission-v2"]
    return json.dumps(out).encode()
