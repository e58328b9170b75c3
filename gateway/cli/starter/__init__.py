"""The files that `fhir-gateway init` writes, as they are."""
