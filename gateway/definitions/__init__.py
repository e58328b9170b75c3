"""Generators of the model files in gateway/fhir/model; run by developers, never at run time."""
