"""Finds out what the FHIR server can do. Probed, never taken from `/metadata`, which promises what servers break.

The probes of a gateway's start change nothing: `/metadata` is read for the software's name alone, and searches are
for what nobody ever wrote. What can be found out only by writing is found out by `fhir-gateway doctor`.
"""

import logging
from dataclasses import replace

from gateway.fhir.resource import BodyLimits
from gateway.saga.capability import SNAPSHOT, Capability, FindLost, GuardedDelete
from gateway.saga.ports import Upstream
from gateway.upstream import probes_harmless
from gateway.upstream.lookups import UpstreamLookups
from gateway.upstream.probes_harmless import Software

__all__ = ["Capability", "CapabilityProbe", "FindLost", "GuardedDelete"]

_log = logging.getLogger(__name__)
CONSERVATIVE = Capability()
# HAPI FHIR JPA 8.8 as it answers: a version in the URL of a DELETE is compared, If-Match there is not;
# tags and security labels stick when an older version is restored without the header.
HAPI = Capability(
    software="HAPI FHIR Server",
    guarded_delete=GuardedDelete.VERSION_URL,
    find_lost=FindLost.HISTORY,
    restore_headers=SNAPSHOT,
    guarded_update=True,
)
_PROBED_TYPE = "Patient"
_RECORDING = ("HAPI", "fhir-policy-gateway sandbox")  # software that records X-Request-ID when it is set up to


class CapabilityProbe:
    """Holds what is known; `Capability.known` is False until `refresh` reached the server.

    `wanted` is the configuration's `find_lost_writes`; `kept` is what a doctor found, and for which software.
    """

    def __init__(
        self,
        upstream: Upstream,
        limits: BodyLimits,
        *,
        base: str = "",
        wanted: str = "auto",
        kept: tuple[Software, Capability] | None = None,
    ) -> None:
        self._upstream, self._limits, self._wanted, self._kept = upstream, limits, wanted, kept
        self._lookups = UpstreamLookups(upstream, limits, base=base)
        self._capability = self._chosen(replace(CONSERVATIVE, known=False))
        self.probed = False

    def capability(self) -> Capability:
        """What is known now."""
        return self._capability

    async def refresh(self) -> Capability:
        """Probe. A server that cannot be reached leaves what was known."""
        said = await probes_harmless.software(self._upstream, self._limits)
        if said is None:
            return self._capability
        found = self._found_by_doctor(said)
        trusted = found is not None or said.name.startswith(_RECORDING)
        if found is None:
            found = replace(HAPI if trusted else CONSERVATIVE, software=said.name)
        if trusted:
            found = await self._searched(found, by_doctor=self._kept is not None and self._kept[0] == said)
        self._capability, self.probed = self._chosen(found), True
        return self._capability

    def _found_by_doctor(self, said: Software) -> Capability | None:
        """Only for the very software that was examined: another version may answer otherwise."""
        if self._kept is None:
            return None
        examined, capability = self._kept
        if examined == said:
            return capability
        _log.warning("the capability file is of another software than the server's: run fhir-gateway doctor again")
        return None

    async def _searched(self, found: Capability, *, by_doctor: bool) -> Capability:
        """Searching by request id can be switched off at any time: looked at again, harmlessly, at every start."""
        if by_doctor and found.find_lost is not FindLost.REQUEST_ID:
            return found
        search = await probes_harmless.source_search(self._lookups, _PROBED_TYPE)
        works = search.supported and search.selective
        # Software that searches by them records them as they came, unless something in between replaces the header:
        # then what is read back says otherwise, and counts more (`saga.find.Stamps`).
        return replace(
            found, find_lost=FindLost.REQUEST_ID if works else FindLost.HISTORY, records_ids=works or found.records_ids
        )

    def _chosen(self, found: Capability) -> Capability:
        """The operator's word counts where it names a way that this gateway has."""
        if self._wanted in {each.value for each in FindLost}:
            return replace(found, find_lost=FindLost(self._wanted))
        return found
