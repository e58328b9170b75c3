"""Turns documents into a policy set, or lists everything that is wrong with them. Pure: texts in, values out."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.fhir.shape import resource_types
from gateway.policy.document_reader import ReadPolicy, read_policy
from gateway.policy.policy_compiler import compile_policy
from gateway.policy.policy_set import CompiledPolicy, Engines, PolicySet, Source
from gateway.policy.problems import Problem, in_order
from gateway.policy.selection import candidates


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A source and the name that its problems are shown under (the path as the caller gave it)."""

    source: Source
    shown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compilation:
    """The set, or None when some problem is an error; the problems; and the documents that could be read."""

    policy_set: PolicySet | None
    problems: tuple[Problem, ...]
    documents: tuple[ReadPolicy, ...]


def compile_set(files: Sequence[SourceFile], *, release: str, engines: Engines) -> Compilation:
    """Compile every file; problems of all of them are listed at once. The order of files does not matter."""
    files = sorted(files, key=lambda file: (file.source.name, file.source.text))
    problems: list[Problem] = []
    policies: list[CompiledPolicy] = []
    documents: list[ReadPolicy] = []
    for file in files:
        document = read_policy(file.shown, file.source.text)
        if isinstance(document, tuple):
            problems += document
        else:
            documents.append(document)
    every_type = _every_type(documents, release)
    for document in documents:
        policy, found = compile_policy(document, release=release, engines=engines, every_type=every_type)
        problems += found
        if policy is not None:
            policies.append(policy)
    problems += _repeated_names(documents)
    if not files:
        problems.append(Problem(file="policies", line=1, column=1, message="there is no policy: nothing is permitted"))
    found_all = in_order(problems)
    if any(problem.is_error for problem in found_all):
        return Compilation(policy_set=None, problems=found_all, documents=tuple(documents))
    sources = tuple(file.source for file in files)
    ordered = tuple(sorted(policies, key=lambda policy: policy.name))
    policy_set = PolicySet(
        revision=revision(sources),
        release=release,
        policies=ordered,
        sources=sources,
        engines=engines,
        candidates=candidates(ordered),
        warnings=found_all,
    )
    return Compilation(policy_set=policy_set, problems=found_all, documents=tuple(documents))


def revision(sources: Iterable[Source]) -> str:
    """The SHA-256 over names and texts in order of name; lengths keep one from running into the next."""
    digest = hashlib.sha256()
    for source in sorted(sources, key=lambda source: (source.name, source.text)):
        for text in (source.name, source.text):
            encoded = text.encode("utf-8")
            digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()


def _every_type(documents: Sequence[ReadPolicy], release: str) -> tuple[str, ...]:
    """What a guard that lists no types is about: every type that some policy of the set lists.

    No other can be written, because none is permitted. A set that lists no type at all is checked for all of the
    release.
    """
    known = resource_types(release)
    listed = {type_ for document in documents for type_ in document.document.resources or ()}
    return tuple(sorted(listed & known)) or tuple(sorted(known))


def _repeated_names(documents: Sequence[ReadPolicy]) -> list[Problem]:
    first: dict[str, ReadPolicy] = {}
    problems = []
    for document in documents:
        name = document.document.policy
        if name in first:
            where = first[name].places.file
            problems.append(document.places.at(("policy",), f"the policy {name} is also in {where}"))
        first.setdefault(name, document)
    return problems
