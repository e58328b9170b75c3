"""The engines that a running gateway compiles and judges with."""

from functools import cache

from gateway.policy.cel_engine import cel_engine
from gateway.policy.fhirpath import FhirPathEngine
from gateway.policy.policy_set import Engines


@cache
def standard_engines() -> Engines:
    """CEL on the best engine that this installation has (`engines.cel.name` says which), FHIRPath behind its door."""
    return Engines(cel=cel_engine(), fhirpath=FhirPathEngine())
