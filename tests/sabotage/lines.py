"""The safety lines: what each is for, how it is removed, and which tests are likely to miss it.

`edits` are exact texts that occur once in `file`. A change of the product that moves a line has to move its entry.
"""

from dataclasses import dataclass

SETTLING = ("tests/saga",)
SIMULATION = ("tests/faults/test_simulation.py",)
DISK = ("tests/faults/test_disk.py",)
JOURNAL = ("tests/journal",)
MISSED = ("tests/faults/test_safety_lines.py",)
NETWORK = ("tests/faults/test_network.py",)
_WRITE = "tests/pipeline/test_write.py::"
IDENTITY = ("tests/identity",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of defence. `promise` is its number in the README's table; `edits` are (was, instead)."""

    name: str
    promise: int
    file: str
    edits: tuple[tuple[str, str], ...]
    tests: tuple[str, ...]


def _line(name: str, promise: int, file: str, was: str, instead: str, *tests: tuple[str, ...]) -> Line:
    return Line(name=name, promise=promise, file=file, edits=((was, instead),), tests=sum(tests, ()))


LINES = (
    # The journal
    Line(
        name="a commit is on the disk when it returns",
        promise=4,
        file="gateway/journal/sqlite.py",
        edits=(("synchronous = FULL", "synchronous = NORMAL"), ("[0] != _FULL", "[0] == 99")),
        tests=DISK,
    ),
    _line(
        "nothing is written after a failed commit",
        3,
        "gateway/journal/sqlite_writer.py",
        "            self.broken = reason\n",
        "            pass\n",
        DISK,
        JOURNAL,
    ),
    _line(
        "a job is told of success only after the commit",
        4,
        "gateway/journal/sqlite_writer.py",
        "        result = job.begin(connection)()\n",
        "        result = job.begin(connection)()\n        job.loop.call_soon_threadsafe(job.succeed, result)\n",
        DISK,
    ),
    _line(
        "only the owner moves an entry",
        8,
        "gateway/journal/sqlite.sql",
        "updated_at = :updated_at\nWHERE decision_id = :decision_id AND owner = :owner AND epoch = :epoch",
        "updated_at = :updated_at\nWHERE decision_id = :decision_id AND (owner = :owner OR epoch = :epoch)",
        JOURNAL,
    ),
    _line(
        "an entry is moved from the state it is known to be in",
        8,
        "gateway/journal/sqlite.sql",
        "updated_at = :updated_at\nWHERE decision_id = :decision_id AND owner = :owner AND epoch = :epoch "
        "AND state = :expected;",
        "updated_at = :updated_at\nWHERE decision_id = :decision_id AND owner = :owner AND epoch = :epoch "
        "AND :expected <> '';",
        JOURNAL,
    ),
    _line(
        "an entry of a process that lives is not taken over",
        8,
        "gateway/journal/owners.py",
        "        os.close(descriptor)\n        return None\n",
        "        return GoneOwner(path, descriptor)\n",
        JOURNAL,
        SIMULATION,
    ),
    # The intent, and sending once
    _line(
        "intent durable before the write leaves",
        3,
        "gateway/saga/settle.py",
        "await self._journal.begin(intent)\n",
        "_ = asyncio.ensure_future(self._journal.begin(intent))\n",
        SIMULATION,
    ),
    _line(
        "a write is sent once",
        8,
        "gateway/saga/moves.py",
        "request, passage.request = passage.request, None",
        "request = passage.request",
        ("tests/saga/test_edges.py",),
        SIMULATION,
    ),
    _line(
        "a process that wakes up late does not send",
        8,
        "gateway/saga/moves.py",
        "if request is None or self.clock() > (intent.send_deadline or 0.0):",
        "if request is None:",
        ("tests/saga/test_settle.py",),
    ),
    _line(
        "the write goes out under its own request id alone",
        6,
        "gateway/saga/moves.py",
        'if header[0] != b"x-request-id")',
        "if header)",
        MISSED,
    ),
    # Lost answers
    _line(
        "not found is believed only after the last instant of a late application",
        6,
        "gateway/saga/moves.py",
        "isinstance(found, NotThere) and (found.final or over)",
        "isinstance(found, NotThere)",
        SIMULATION,
    ),
    _line(
        "the late application counts from the loss of the answer",
        6,
        "gateway/saga/moves.py",
        " + self.settings.late_apply\n",
        "\n",
        SIMULATION,
    ),
    _line(
        "a 5xx proves nothing",
        6,
        "gateway/saga/proof.py",
        "405, 409, 410, 412, 413, 415, 422, 428, 429}",
        "405, 409, 410, 412, 413, 415, 422, 428, 429, 500}",
        SIMULATION,
    ),
    _line(
        "a hit of the search is held against the write's own id",
        7,
        "gateway/saga/find.py",
        "if first is not None and request_id_of(first.resource) == intent.write_id:",
        "if first is not None:",
        MISSED,
    ),
    _line(
        "what another journalled write explains is not this one's",
        7,
        "gateway/saga/find.py",
        "ours = [hit for hit in same if hit.id not in explained]",
        "ours = list(same)",
        ("tests/saga/test_edges.py",),
        SIMULATION,
    ),
    _line(
        "lookups ask for what no cache answers",
        6,
        "gateway/upstream/lookups.py",
        ', (b"cache-control", b"no-cache"))',
        ",)",
        ("tests/upstream/test_lookups.py",),
    ),
    _line(
        "a connection that broke is no proof that nothing was sent",
        6,
        "gateway/upstream/client.py",
        'if any(cause["message"] == _NEVER_CONNECTED for cause in causes):',
        "if causes is not None:",
        ("tests/upstream/test_client.py",),
    ),
    # Undo
    _line(
        "the version is looked at before it is removed",
        7,
        "gateway/saga/compensation.py",
        "    if current.version != intent.stored_version:\n",
        "    if current.version == '':\n",
        ("tests/saga/test_compensation.py",),
        SIMULATION,
    ),
    _line(
        "a delete names its version",
        7,
        "gateway/saga/compensation.py",
        'path = f"{path}/_history/{intent.stored_version}"',
        "pass",
        ("tests/saga/test_compensation.py",),
        SIMULATION,
    ),
    _line(
        "a delete has its guard where the server honours it",
        7,
        "gateway/saga/compensation.py",
        "headers = (*headers, _if_match(intent))",
        "pass",
        ("tests/saga/test_compensation.py",),
        SIMULATION,
    ),
    _line(
        "a restore has its guard",
        7,
        "gateway/saga/compensation.py",
        "_JSON, _if_match(intent), *capability",
        "_JSON, *capability",
        ("tests/saga/test_compensation.py",),
        SIMULATION,
    ),
    _line(
        "nothing is deleted that the write was not proven to create",
        7,
        "gateway/saga/compensation.py",
        "    if intent.created is None:\n        return Blocked(",
        "    if intent.created is None:\n        return UndoAction.DELETE\n        return Blocked(",
        ("tests/saga/test_compensation.py",),
    ),
    _line(
        "an undo is proven by what is read back",
        5,
        "gateway/saga/compensation.py",
        "        return _unchanged(answer)\n",
        "        return Proven()\n",
        ("tests/saga/test_compensation.py",),
        SIMULATION,
    ),
    _line(
        "what If-None-Exist matched is not this write's",
        7,
        "gateway/saga/proof.py",
        "return Matched() if intent.if_none_exist is not None else",
        "return Stored(id='1', version='1', created=True) if intent.if_none_exist is not None else",
        ("tests/saga/test_compensation.py",),
    ),
    _line(
        "nothing is undone before the server was asked what it can do",
        7,
        "gateway/saga/moves.py",
        "        if not capability.known:\n            return await self._move(passage, Event.UNDO_DEFERRED",
        "        if False:\n            return await self._move(passage, Event.UNDO_DEFERRED",
        ("tests/saga/test_edges.py",),
        SIMULATION,
    ),
    _line(
        "a version that was not judged is not overwritten unseen",
        4,
        "gateway/saga/moves.py",
        "        if before is None or before == intent.prior_version:\n            return None\n",
        "        return None\n",
        ("tests/saga/test_settle.py",),
        SIMULATION,
    ),
    # Answers
    _line(
        "a success is told only after committed is durable",
        4,
        "gateway/saga/table.py",
        "(stored, Event.HOLDS, committed, before, Outward.ANSWER)",
        "(stored, Event.HOLDS, committed, behind, Outward.ANSWER)",
        ("tests/saga/test_table.py",),
        DISK,
    ),
    _line(
        "only a committed write becomes a success",
        5,
        "gateway/pipeline/write.py",
        "if settled.state is State.COMMITTED or (",
        "if settled.answer.status < 300 or (",
        (_WRITE + "test_a_write_that_the_server_changed_is_removed",),
    ),
    # The decision
    _line(
        "what cannot be evaluated does not hold",
        1,
        "gateway/policy/engine.py",
        "        if end.outcome.result is not Result.PASS:\n",
        "        if end.outcome.result is Result.FAIL:\n",
        ("tests/policy/test_engine.py", "tests/policy/test_cel.py", "tests/policy/test_cases.py"),
    ),
    _line(
        "what is not a boolean is no (FHIRPath)",
        1,
        "gateway/policy/fhirpath.py",
        "    if items[0] is True:\n",
        "    if items[0]:\n",
        ("tests/policy/test_fhirpath.py",),
    ),
    _line(
        "empty is no (FHIRPath)",
        1,
        "gateway/policy/fhirpath.py",
        "    if len(items) != 1:\n",
        "    if not items:\n        return HELD\n    if len(items) != 1:\n",
        ("tests/policy/test_fhirpath.py",),
    ),
    _line(
        "what is not a boolean is no (CEL)",
        1,
        "gateway/policy/cel.py",
        "            if answer is True:\n",
        "            if answer:\n",
        ("tests/policy/test_cel.py", "tests/policy/test_cel_differential.py"),
    ),
    _line(
        "a reference that leads to no Patient refuses",
        1,
        "gateway/policy/engine.py",
        "    if problems:\n        return tuple(",
        "    if False:\n        return tuple(",
        ("tests/policy/test_engine.py",),
    ),
    _line(
        "no rule holds when the time is used up",
        10,
        "gateway/policy/activation.py",
        "        if self.is_late():\n            return LATE\n",
        "",
        ("tests/policy/test_engine.py",),
    ),
    _line(
        "what no policy permits is refused",
        1,
        "gateway/policy/engine.py",
        "verdict=_verdict(failed) if permitted else Verdict.DENY,",
        "verdict=_verdict(failed),",
        ("tests/policy/test_engine.py",),
    ),
    _line(
        "nothing is judged while decisions cannot be recorded",
        12,
        "gateway/pipeline/write.py",
        "        if not self.recording():\n",
        "        if False:\n",
        MISSED,
    ),
    # What is judged is what is sent
    _line(
        "an update is guarded by the version that was judged",
        2,
        "gateway/pipeline/write.py",
        "    if guard is not None:\n",
        "    if False:\n",
        (_WRITE + "test_an_update_is_guarded_by_the_version_that_was_judged",),
    ),
    _line(
        "a key stands once in an object",
        2,
        "gateway/fhir/resource.py",
        "catch_duplicate_keys=True",
        "catch_duplicate_keys=False",
        ("tests/fhir/test_resource.py",),
    ),
    _line(
        "nesting is bounded",
        10,
        "gateway/fhir/resource.py",
        '    if body.count(b"{") + body.count(b"[") > min(limits.depth, _DEEPEST) and _depth(value) > limits.depth:\n',
        "    if False:\n",
        ("tests/fhir/test_resource.py",),
    ),
    _line(
        "the shape of the payload is checked",
        2,
        "gateway/pipeline/write.py",
        "    if problems := shape.check(resource):\n",
        "    if problems := ():\n",
        (_WRITE + "test_an_unknown_element_is_refused_with_a_hint",),
    ),
    _line(
        "the body's id is the URL's",
        2,
        "gateway/pipeline/write.py",
        '    if isinstance(write, Update) and resource.get("id") != write.id:\n',
        "    if False:\n",
        (_WRITE + "test_a_body_id_other_than_the_urls_is_refused",),
    ),
    _line(
        "the body's type is the URL's",
        2,
        "gateway/pipeline/write.py",
        "    if named != write.type:\n",
        "    if False:\n",
        (_WRITE + "test_a_body_without_one_reading_is_refused",),
    ),
    _line(
        "the client's If-Match is judged",
        2,
        "gateway/pipeline/write.py",
        "        _same_version(write, gathered)\n",
        "",
        (_WRITE + "test_a_stale_if_match_is_refused_before_anything_is_sent",),
    ),
    _line(
        "scopes bound what is written",
        1,
        "gateway/pipeline/write.py",
        "        scope.bound(granted, principal, resource, gathered.prior.resource, gathered.concerned)\n",
        "",
        (_WRITE + "test_a_filtered_scope_binds_the_payload_and_the_prior_version",),
    ),
    _line(
        "headers cross by a list",
        2,
        "gateway/ingress/headers.py",
        '    for name, form in (("if-none-match", _ENTITY_TAGS), ("if-modified-since", _HTTP_DATE)):\n',
        '    kept += [(n.encode(), v[0].encode("latin-1")) for n, v in headers.items() if n.startswith("x-")]\n'
        '    for name, form in (("if-none-match", _ENTITY_TAGS), ("if-modified-since", _HTTP_DATE)):\n',
        ("tests/ingress/test_headers.py",),
    ),
    _line(
        "hop-by-hop headers end here",
        2,
        "gateway/ingress/headers.py",
        "        if len(values) == 1 and name not in hop_by_hop and form.match(values[0]):\n",
        "        if len(values) == 1 and form.match(values[0]):\n",
        ("tests/ingress/test_headers.py",),
    ),
    _line(
        "a path has exactly one reading",
        2,
        "gateway/fhir/interaction.py",
        "    if pattern.fullmatch(raw) is None:\n",
        "    if not raw.isascii():\n",
        ("tests/fhir/test_interaction.py",),
    ),
    _line(
        "a path has no empty and no dot segments",
        2,
        "gateway/fhir/interaction.py",
        '    if {"", ".", ".."}.intersection(segments):\n',
        "    if False:\n",
        ("tests/fhir/test_interaction.py",),
    ),
    _line(
        "a length and a transfer coding exclude each other",
        2,
        "gateway/ingress/framing.py",
        "        if lengths or http_version",
        "        if http_version",
        ("tests/ingress/test_framing.py", "tests/ingress/test_framing_on_the_wire.py"),
    ),
    _line(
        "redirects of the server are not followed",
        2,
        "gateway/upstream/client.py",
        "            .follow_redirects(enable=False)\n",
        "",
        ("tests/upstream/test_client.py",),
    ),
    # Tokens
    _line(
        "a token is meant for this server",
        9,
        "gateway/identity/shape.py",
        '    if not _names_us(claims.get("aud"), settings):\n',
        "    if False:\n",
        IDENTITY,
    ),
    _line(
        "a token is an access token by its typ",
        9,
        "gateway/identity/shape.py",
        "    if not isinstance(typ, str) or not settings.takes_type(typ):\n",
        "    if False:\n",
        IDENTITY,
    ),
    _line(
        "an expired token is refused",
        9,
        "gateway/identity/token.py",
        "    if now >= shape.exp + leeway:\n",
        "    if False:\n",
        IDENTITY,
    ),
    _line(
        "the algorithm is one of the configured",
        9,
        "gateway/identity/shape.py",
        "    if algorithm not in settings.algorithms:\n",
        "    if False:\n",
        IDENTITY,
    ),
    _line(
        "the signature is verified",
        9,
        "gateway/identity/token.py",
        "    if key is None or not key.verifies(shape.signing_input, shape.signature):\n",
        "    if key is None:\n",
        IDENTITY,
    ),
    _line(
        "a failed key fetch counts for the cool-down",
        9,
        "gateway/identity/keys.py",
        "            self.failure = failure\n",
        "            self.failure = failure\n"
        "            self._last_attempt = self._last_attempt if failure is None else float('-inf')\n",
        IDENTITY,
    ),
    _line(
        "a remembered token is forgotten with its keys",
        9,
        "gateway/identity/authenticator.py",
        "if keys is None or keys.generation != generation or not keys.usable(now):",
        "if keys is None:",
        IDENTITY,
    ),
    # Quiet, and loud
    _line(
        "decisions hold hashes of patients, keyed",
        11,
        "gateway/observe/decision_record.py",
        '    return hmac.digest(key, f"{kind}\\0{value}".encode(), "sha256").hex()[:_HASH_CHARACTERS]\n\n\ndef _body',
        "    return value\n\n\ndef _body",
        ("tests/observe",),
    ),
    _line(
        "a crash point shows as an unsafe setting",
        13,
        "gateway/settings.py",
        'return config.unsafe_settings if crash is None else (*config.unsafe_settings, f"crash at {crash.value}")',
        "return config.unsafe_settings",
        MISSED,
    ),
    _line(
        "an outcome is told to the client that made the write",
        11,
        "gateway/pipeline/outcome.py",
        "if intent is None or (intent.client_id, intent.issuer) != (principal.client_id, principal.issuer):",
        "if intent is None:",
        (_WRITE + "test_the_outcome_of_a_write_can_be_asked_for_by_its_client_only",),
    ),
)
