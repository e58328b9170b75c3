"""The gateway's Prometheus metrics, each behind one method with bounded labels.

Finding a child by its labels costs more than counting, so every child is bound once and kept by its label values;
the sets are closed, so what is kept is bounded. No label ever holds a resource id, a patient, a URL or a message.
"""

import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from gateway.observe.buckets import (
    CHECK_SECONDS,
    COMMIT_SECONDS,
    REQUEST_SECONDS,
    UNDO_SECONDS,
    UPSTREAM_SECONDS,
)
from gateway.observe.tally import Tallies
from gateway.policy.decision import Result, RuleOutcome

# A second series for every counter and histogram that says when it was made: nothing here asks for it.
disable_created_metrics()  # type: ignore[no-untyped-call]

OTHER = "_other"
MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_MOST_HELD = 10_000
_MOST_RECENT: Literal["mostrecent"] = "mostrecent"


@dataclass(slots=True)
class _Held:
    """A rule's outcome, its counter, and how often it was seen since the last fold."""

    outcome: RuleOutcome
    counter: Counter
    count: int = 0


class Metrics:
    """Everything that is counted. `resource_types` closes the label of that name; other types are `_other`."""

    def __init__(self, resource_types: frozenset[str] = frozenset()) -> None:
        # With several workers every process writes files and only the supervisor's registry is scraped.
        self.registry = CollectorRegistry()
        self._types = resource_types
        self._define_requests()
        self._define_rooms()
        self._define_saga()
        self._define_state()
        self._tallies = Tallies()
        self._rules: dict[tuple[object, ...], Counter] = {}
        self._held: dict[int, _Held] = {}
        self._flying = 0
        self._in_force: str | None = None

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"fhir_gateway_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"fhir_gateway_{name}", text, labels, buckets=buckets, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str, mode: Literal["mostrecent", "sum"] = _MOST_RECENT) -> Gauge:
        kind: Literal["mostrecent", "livesum"] = "livesum" if mode == "sum" else "mostrecent"
        return Gauge(f"fhir_gateway_{name}", text, labels, registry=self.registry, multiprocess_mode=kind)

    def _define_requests(self) -> None:
        self._http = self._counter("http_requests_total", "Requests answered.", "interaction", "resource_type", "code")
        self._http_seconds = self._histogram(
            "http_request_duration_seconds", "Whole requests.", REQUEST_SECONDS, "interaction", "decision"
        )
        self._overhead = self._histogram(
            "http_overhead_seconds", "Time of a request not spent on the FHIR server.", REQUEST_SECONDS, "interaction"
        )
        self._in_flight = self._gauge("http_requests_in_flight", "Requests being answered.", mode="sum")
        self._rejected = self._counter("rejected_requests_total", "Requests turned away.", "reason")
        self._decided = self._counter(
            "decisions_total", "Decisions on writes.", "interaction", "resource_type", "decision"
        )
        self._keyed = self._counter("idempotent_requests_total", "Writes under an Idempotency-Key.", "result")
        self._rule_results = self._counter(
            "check_results_total", "Outcomes of rules.", "policy", "check", "phase", "mode", "result"
        )
        self._rule_seconds = self._histogram(
            "check_duration_seconds", "All rules of one decision.", CHECK_SECONDS, "phase"
        )

    def _define_rooms(self) -> None:
        self._verified = self._counter("token_verifications_total", "Access tokens.", "issuer", "result")
        self._jwks = self._gauge("jwks_last_success_timestamp_seconds", "Last good fetch of the keys.", "issuer")
        self._fetched = self._counter("patient_fetches_total", "Patients read.", "result")
        self._fetch_seconds = self._histogram(
            "patient_fetch_duration_seconds", "Reading one Patient.", UPSTREAM_SECONDS, "result"
        )
        self._sent = self._counter("upstream_requests_total", "Requests to the FHIR server.", "method", "code")
        self._sent_seconds = self._histogram(
            "upstream_request_duration_seconds", "Requests to the FHIR server.", UPSTREAM_SECONDS, "method"
        )

        # Summed over the workers: how many of them know the server not to answer.
        self._circuit = self._gauge(
            "upstream_circuit_open",
            "1 while requests are held back because the FHIR server does not answer.",
            mode="sum",
        )

    def _define_saga(self) -> None:
        self._undone = self._counter("undo_attempts_total", "Attempts to undo a write.", "action", "result")
        self._undo_seconds = self._histogram(
            "undo_duration_seconds", "From the write to its undo: the window of exposure.", UNDO_SECONDS, "action"
        )
        self._reopened = self._counter("writes_reopened_total", "Closed writes that were stored after all.", "event")
        self._entries = self._gauge("journal_entries", "Journal entries.", "state")
        self._oldest = self._gauge("journal_oldest_open_age_seconds", "Age of the oldest open journal entry.")
        self._commit_seconds = self._histogram(
            "journal_commit_duration_seconds", "Durable journal commits.", COMMIT_SECONDS, "backend"
        )
        self._journal_errors = self._counter("journal_errors_total", "Failed journal operations.", "backend")

    def _define_state(self) -> None:
        self._reloads = self._counter("policy_reloads_total", "Reloads of the policies.", "result")
        self._reload_ok = self._gauge("policy_last_reload_successful", "1 when the last reload succeeded.")
        self._reload_time = self._gauge("policy_last_reload_success_timestamp_seconds", "Last successful reload.")
        self._revision = self._gauge("policy_set_info", "The policies in force.", "revision")
        self._rule_count = self._gauge("policy_checks", "Rules in force.", "mode")
        self._records = self._counter("decision_log_records_total", "Decision log records.", "sink", "result")
        self._queue = self._gauge("decision_log_queue_records", "Records waiting to be written.", "sink", mode="sum")
        self._build = self._gauge("build_info", "The running build.", "version", "python")
        self._unsafe = self._gauge("unsafe_setting_info", "1 for every safety override in force.", "setting")

    def _type(self, type_: str | None) -> str:
        return type_ if type_ is not None and type_ in self._types else ("" if type_ is None else OTHER)

    def request(
        self,
        interaction: str | None,
        type_: str | None,
        code: int,
        seconds: float,
        decision: str,
        *,
        upstream_seconds: float = 0.0,
    ) -> None:
        """One answered request. `decision`: allow, warn, deny, undo, error or none."""
        name = interaction or "none"
        label = self._type(type_)
        key = ("http", name, label, code, decision)
        tally = self._tallies.find(key) or self._tallies.bind(
            key,
            self._http.labels(name, label, str(code)),
            self._http_seconds.labels(name, decision),
            self._overhead.labels(name),
        )
        tally.add(seconds, seconds - upstream_seconds if seconds > upstream_seconds else 0.0)

    def in_flight(self, requests: int) -> None:
        """How many requests are being answered; whoever answers them counts."""
        self._flying = requests

    def rejected(self, reason: str) -> None:
        """A request turned away: framing, headers, timeout, body_too_large, shutting_down, queue_full, circuit_open."""
        self._rejected.labels(reason).inc()

    def upstream_circuit(self, *, is_open: bool) -> None:
        """Whether the FHIR server is known not to answer."""
        self._circuit.set(1 if is_open else 0)

    def decision(self, interaction: str, type_: str | None, decision: str) -> None:
        """One decision on a write: allow, warn, deny, undo or error."""
        key = ("decision", interaction, type_, decision)
        tally = self._tallies.find(key)
        if tally is None:
            key = ("decision", interaction, self._type(type_), decision)
            tally = self._tallies.find(key) or self._tallies.bind(key, self._decided.labels(*key[1:]))
        tally.add()

    def idempotency(self, result: str) -> None:
        """A write under an Idempotency-Key: new, replayed, in_progress or mismatch."""
        self._keyed.labels(result).inc()

    def rules(self, outcomes: Iterable[RuleOutcome]) -> None:
        """The outcome of every rule of one decision."""
        held = self._held
        for outcome in outcomes:
            # The compiler makes the outcome of a rule that holds once: found by identity, which costs no hashing
            # of five texts. The outcome is kept beside its child, so that its id cannot come to mean another one.
            # Counted here in plain numbers, and into the children when somebody looks.
            found = held.get(id(outcome))
            if found is not None and found.outcome is outcome:
                found.count += 1
            else:
                self._rule(outcome).inc()

    def fold(self) -> None:
        """Bring the metrics up to date with what was counted in plain numbers. Cheap; done before every scrape."""
        self._in_flight.set(self._flying)
        self._tallies.fold()
        for held in list(self._held.values()):
            count, held.count = held.count, 0
            if count:
                held.counter.inc(count)

    def _rule(self, outcome: RuleOutcome) -> Counter:
        key = (outcome.policy, outcome.rule, outcome.phase, outcome.mode, outcome.result)
        bound = self._rules.get(key)
        if bound is None:
            bound = self._rules[key] = self._rule_results.labels(*key)
        if outcome.result is Result.PASS:
            if len(self._held) >= _MOST_HELD:
                self.fold()
                self._held.clear()
            self._held[id(outcome)] = _Held(outcome, bound)
        return bound

    def evaluation(self, phase: str, seconds: float) -> None:
        """The time of all rules of one decision."""
        key = ("evaluation", phase)
        tally = self._tallies.find(key) or self._tallies.bind(key, None, self._rule_seconds.labels(phase))
        tally.add(seconds)

    def token(self, issuer: str, result: str) -> None:
        """One token. `issuer` is a configured one or `_other`; `result`: ok, expired, bad_signature, …"""
        key = ("token", issuer, result)
        tally = self._tallies.find(key) or self._tallies.bind(key, self._verified.labels(issuer, result))
        tally.add()

    def jwks_fetched(self, issuer: str, timestamp: float) -> None:
        """The keys of a configured issuer were read, at a Unix time."""
        self._jwks.labels(issuer).set(timestamp)

    def patient_fetch(self, result: str, seconds: float) -> None:
        """One Patient needed by a decision: ok, not_found, error or cached."""
        key = ("patient", result)
        if result == "cached":
            # Nothing was waited for: a time of zero would only blur the others.
            (self._tallies.find(key) or self._tallies.bind(key, self._fetched.labels(result))).add()
            return
        tally = self._tallies.find(key) or self._tallies.bind(
            key, self._fetched.labels(result), self._fetch_seconds.labels(result)
        )
        tally.add(seconds)

    def upstream(self, method: str, code: int | str, seconds: float) -> None:
        """One exchange with the FHIR server. `code` is its status, or `not_sent`, `lost`, `timeout`."""
        key = ("upstream", method, code)
        tally = self._tallies.find(key)
        if tally is None:
            label = method if method in _METHODS else OTHER
            tally = self._tallies.bind(key, self._sent.labels(label, str(code)), self._sent_seconds.labels(label))
        tally.add(seconds)

    def undo(self, action: str, result: str, seconds: float) -> None:
        """One attempt to undo: delete or restore; ok, gone, conflict or error. `seconds` since the write."""
        self._undone.labels(action, result).inc()
        if result in {"ok", "gone"}:
            self._undo_seconds.labels(action).observe(seconds)

    def reopened(self, event: str) -> None:
        """One write that others had closed, and whose sender learned that it is, or may be, stored after all."""
        self._reopened.labels(event).inc()

    def journal_entries(self, counts: Mapping[str, int], oldest_open_age: float = 0.0) -> None:
        """How many entries are in each state, and the age in seconds of the oldest open one (0: none)."""
        for state, count in counts.items():
            self._entries.labels(state).set(count)
        self._oldest.set(oldest_open_age)

    def journal_commit(self, backend: str, seconds: float) -> None:
        """One durable commit."""
        self._commit_seconds.labels(backend).observe(seconds)

    def journal_error(self, backend: str) -> None:
        """One failed journal operation."""
        self._journal_errors.labels(backend).inc()

    def policy_set(self, revision: str, counts: Mapping[str, int], timestamp: float) -> None:
        """A policy set came into force. `counts`: rules by mode. `timestamp` is a Unix time."""
        if self._in_force != revision:
            if self._in_force is not None:
                # Files shared between processes cannot forget a series; 0 says the same.
                self._revision.labels(self._in_force).set(0)
                if not writes_to_folder():
                    self._revision.remove(self._in_force)
            self._in_force = revision
        self._revision.labels(revision).set(1)
        for mode in ("enforce", "warn", "audit"):
            self._rule_count.labels(mode).set(counts.get(mode, 0))
        self._reload_time.set(timestamp)
        self._reload_ok.set(1)

    def policy_reload(self, *, succeeded: bool) -> None:
        """A reload was tried."""
        self._reloads.labels("ok" if succeeded else "failed").inc()
        self._reload_ok.set(1 if succeeded else 0)

    def decision_log(self, sink: str, result: str, count: int = 1) -> None:
        """Records of the decision log: written, dropped or failed."""
        self._records.labels(sink, result).inc(count)

    def decision_log_queue(self, sink: str, waiting: int) -> None:
        """Records waiting to be written."""
        self._queue.labels(sink).set(waiting)

    def build_info(self, version: str) -> None:
        """The running build."""
        self._build.labels(version, platform.python_version()).set(1)

    def unsafe_settings(self, names: Iterable[str]) -> None:
        """The safety overrides in force."""
        for name in names:
            self._unsafe.labels(name).set(1)

    def render(self) -> bytes:
        """The text exposition of this process."""
        self.fold()
        return generate_latest(self.registry)


def render_all_workers(folder: Path) -> bytes:
    """The text exposition of every worker that writes its metrics into `folder`."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def writes_to_folder() -> bool:
    """Whether this process shares its metrics by files; decided when prometheus-client is first imported."""
    return MULTIPROCESS_VARIABLE in os.environ
