"""`fhir-gateway schema` prints what `policies/policy.schema.json` holds."""

import json

from typer.testing import CliRunner

from gateway.cli.application import assemble
from tests.policy.policies import EXAMPLES


def test_the_schema_is_printed() -> None:
    found = CliRunner().invoke(assemble(["schema"]), ["schema"])
    assert found.exit_code == 0
    assert found.output == (EXAMPLES / "policy.schema.json").read_text("utf-8")


def test_editors_are_told_of_unknown_keys_and_of_the_words_that_may_stand() -> None:
    schema = json.loads((EXAMPLES / "policy.schema.json").read_text("utf-8"))
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["policy"]
    assert schema["properties"]["mode"]["enum"] == ["enforce", "warn", "audit"]
    assert all(part["additionalProperties"] is False for part in schema["$defs"].values() if "properties" in part)
