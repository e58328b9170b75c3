"""Finds out what the FHIR server can do. Probed, never taken from `/metadata`, which promises what servers break.

The probes change nothing: `/metadata` is read for the software's name alone, and searches are for ids that no
write ever had.
"""

from dataclasses import replace

from gateway.errors import GatewayError
from gateway.fhir.resource import BodyLimits, parse
from gateway.saga.capability import Capability, FindLost, GuardedDelete
from gateway.saga.intent import new_write_id
from gateway.saga.lookup_port import Unclear
from gateway.saga.ports import AnswerLost, NotSent, Upstream, UpstreamRequest
from gateway.upstream.lookups import UpstreamLookups

__all__ = ["Capability", "CapabilityProbe", "FindLost", "GuardedDelete"]

CONSERVATIVE = Capability()
# HAPI FHIR JPA 8.8 as it answers: a version in the URL of a DELETE is compared, If-Match there is not;
# tags and security labels stick when an older version is restored without the header.
HAPI = Capability(
    software="HAPI FHIR Server",
    guarded_delete=GuardedDelete.VERSION_URL,
    find_lost=FindLost.HISTORY,
    restore_headers=((b"x-meta-snapshot-mode", b"TAG,SECURITY,PROFILE"),),
    guarded_update=True,
)
_OK, _SERVER_ERROR = 200, 500
_ACCEPT = ((b"accept", b"application/fhir+json"), (b"cache-control", b"no-cache"))
_PROBED_TYPE = "Patient"
_LONG_AGO = 86_400.0
_RECORDING = ("HAPI", "fhir-policy-gateway sandbox")  # software that records X-Request-ID when it is set up to


class CapabilityProbe:
    """Holds what is known; `Capability.known` is False until `refresh` reached the server.

    `wanted` is the configuration's `find_lost_writes`.
    """

    def __init__(self, upstream: Upstream, limits: BodyLimits, *, base: str = "", wanted: str = "auto") -> None:
        self._upstream, self._limits, self._wanted = upstream, limits, wanted
        self._lookups = UpstreamLookups(upstream, limits, base=base)
        self._capability = self._chosen(replace(CONSERVATIVE, known=False))
        self.probed = False

    def capability(self) -> Capability:
        """What is known now."""
        return self._capability

    async def refresh(self) -> Capability:
        """Probe. A server that cannot be reached leaves what was known."""
        name = await self._software()
        if name is None:
            return self._capability
        known = name.startswith(_RECORDING)
        found = replace(HAPI if known else CONSERVATIVE, software=name)
        if known and await self._searches_request_ids():
            found = replace(found, find_lost=FindLost.REQUEST_ID)
        self._capability, self.probed = self._chosen(found), True
        return self._capability

    def _chosen(self, found: Capability) -> Capability:
        """The operator's word counts where it names a way that this gateway has."""
        if self._wanted in {each.value for each in FindLost}:
            return replace(found, find_lost=FindLost(self._wanted))
        return found

    async def _software(self) -> str | None:
        """The software's name, empty when the server does not say, None while it cannot be asked."""
        try:
            answer = await self._upstream.send(UpstreamRequest(method="GET", path="metadata", headers=_ACCEPT))
        except (NotSent, AnswerLost):
            return None
        if answer.status >= _SERVER_ERROR:
            return None
        try:
            statement = parse(answer.body, self._limits) if answer.status == _OK else {}
        except GatewayError:
            return ""
        software = statement.get("software")
        name = software.get("name") if isinstance(software, dict) else None
        return name if isinstance(name, str) else ""

    async def _searches_request_ids(self) -> bool:
        """Two searches for ids that nobody ever used must both find nothing.

        HAPI refuses the parameter when it does not store request ids. Of unknown software this would prove nothing:
        servers answer an unknown parameter with everything or with nothing.
        """
        for _ in range(2):
            hits = await self._lookups.by_request_id(_PROBED_TYPE, new_write_id(), _LONG_AGO)
            if isinstance(hits, Unclear) or hits:
                return False
        return True
