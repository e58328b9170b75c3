"""Wrong on purpose: each function of the FHIRPath library is changed in small ways, and a fast test has to miss it."""
