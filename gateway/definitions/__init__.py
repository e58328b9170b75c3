"""Generators of the FHIR model data in ; run by developers, never at run time."""
