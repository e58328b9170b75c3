"""FHIR's vocabulary as pure functions: interaction, resource, shape, reference, compartment, outcome."""
