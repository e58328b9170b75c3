"""A small embedded FHIR server and issuer: the demo's upstream and the tests' model server."""
