"""The FHIRPath engine's one door; knows nothing of gateways."""
