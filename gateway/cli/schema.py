"""`fhir-gateway schema`: the JSON Schema of policy files, for editors."""

import json

import typer

from gateway.policy.document import PolicyDocument


def schema_text() -> str:
    """The schema as it is kept in `policies/policy.schema.json`."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A policy of the FHIR policy gateway",
        **{key: value for key, value in PolicyDocument.model_json_schema().items() if key != "title"},
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def schema() -> None:
    """Print the JSON Schema of policy files."""
    typer.echo(schema_text(), nl=False)
