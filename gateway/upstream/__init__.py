"""The FHIR server behind a port."""
