"""The engines that a running gateway compiles and judges with."""

from functools import cache

from gateway.policy.cel import CelEngine
from gateway.policy.fhirpath import FhirPathEngine
from gateway.policy.policy_set import Engines


@cache
def standard_engines() -> Engines:
    """CEL on the CEL project's engine, FHIRPath behind its door."""
    return Engines(cel=CelEngine(), fhirpath=FhirPathEngine())
