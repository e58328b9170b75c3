"""Compiles the expressions of one policy: its lets first, in whatever order they need each other, then the rest."""

import re
from collections.abc import Mapping
from typing import Protocol

from gateway.policy.decision import Mode, Phase
from gateway.policy.document_reader import Places
from gateway.policy.expression import NAMES, Compiled, ExpressionProblem, Language, Scope
from gateway.policy.policy_set import CompiledExpression, CompiledRule, Engines
from gateway.policy.problems import Problem, ProblemSeverity
from gateway.yaml_positions import Path

_NOT_HERE = {
    "patient": "patient is read by no rule of a policy that says patient: none, or has no type of the compartment",
    "stored": "stored is there only after the write",
}
_HINTS = {
    "patient": "leave patient out, or say required or optional",
    "stored": "give the rule phase: after",
}


class Written(Protocol):
    """Anything in a document that holds one expression."""

    @property
    def cel(self) -> str | None: ...

    @property
    def fhirpath(self) -> str | None: ...


class ExpressionCompiler:
    """The expressions of one policy. `problems` grows; nothing is thrown."""

    def __init__(
        self,
        *,
        places: Places,
        engines: Engines,
        release: str,
        types: tuple[str, ...],
        allowed: frozenset[str],
        params: Mapping[str, object],
        lets: Mapping[str, Written],
    ) -> None:
        self.problems: list[Problem] = []
        self.lets: dict[str, CompiledExpression] = {}
        self.types = types
        self._places = places
        self._engines = engines
        self._allowed = allowed
        self._used: set[str] = set()
        self._scope = Scope(
            resource_types=types, available=frozenset(NAMES), params=params, lets=tuple(lets), release=release
        )
        self._sources: dict[str, tuple[Language, Compiled]] = {}
        for name, written in lets.items():
            compiled = self._compile_one(("let", name), written, wants_boolean=False)
            if compiled is not None:
                self._sources[name] = compiled
                self._check_names(("let", name), compiled[0], compiled[1], self._allowed)
        for name in self._sources:
            self._resolve(name, ())

    def compile(self, path: Path, written: Written, phase: Phase) -> CompiledExpression | None:
        """The expression at a path, or None with its problems noted."""
        found = self._compile_one(path, written, wants_boolean=True)
        if found is None:
            return None
        language, compiled = found
        allowed = self._allowed if phase is Phase.AFTER else self._allowed - {"stored"}
        self._check_names(path, language, compiled, allowed)
        self._used |= compiled.lets
        expression = self._with_lets(language, compiled)
        if expression is None:
            return None
        indirect = expression.names - compiled.names - allowed
        for name in sorted(indirect & {"stored"}):
            self._note(path, language, _NOT_HERE[name] + ", and a let that is read here reads it", hint=_HINTS[name])
        return expression

    def finish(self) -> tuple[Problem, ...]:
        """All problems; lets that nothing reads are warned of, once it is known what everything reads."""
        if any(problem.is_error for problem in self.problems):
            return tuple(self.problems)
        for let in self.lets.values():
            self._used |= let.compiled.lets
        for name in self._sources:
            if name not in self._used:
                self.problems.append(
                    self._places.at(
                        ("let", name), f"nothing reads let.{name}", key=True, severity=ProblemSeverity.WARNING
                    )
                )
        return tuple(self.problems)

    @staticmethod
    def together(engines: Engines, rules: tuple[CompiledRule, ...]) -> tuple[CompiledExpression | None, frozenset[int]]:
        """One expression for all enforced CEL rules and the indexes of those rules; (None, none) if there is none."""
        covered = [
            index
            for index, rule in enumerate(rules)
            if rule.mode is Mode.ENFORCE and rule.expression.language is Language.CEL
        ]
        parts = [rules[index].expression for index in covered]
        joined = engines.cel.conjunction(tuple(part.compiled for part in parts)) if len(parts) > 1 else None
        if joined is None:
            return None, frozenset()
        lets = tuple(dict.fromkeys(name for part in parts for name in part.lets))
        names = frozenset().union(*(part.names for part in parts))
        expression = CompiledExpression(language=Language.CEL, compiled=joined, names=names, lets=lets)
        return expression, frozenset(covered)

    def _compile_one(self, path: Path, written: Written, *, wants_boolean: bool) -> tuple[Language, Compiled] | None:
        sources = [
            (language, text)
            for language, text in ((Language.CEL, written.cel), (Language.FHIRPATH, written.fhirpath))
            if text is not None
        ]
        if len(sources) != 1:
            what = "give either cel or fhirpath, not both" if sources else "give an expression: cel or fhirpath"
            self.problems.append(self._places.at(path, what))
            return None
        language, source = sources[0]
        scope = self._scope
        if not wants_boolean:
            scope = Scope(
                resource_types=scope.resource_types,
                available=scope.available,
                params=scope.params,
                lets=scope.lets,
                release=scope.release,
                wants_boolean=False,
            )
        compiled = self._engines.of(language).compile(source, scope)
        place = (*path, language.value)
        found = compiled if isinstance(compiled, tuple) else compiled.warnings
        self.problems += (self._placed(place, problem) for problem in found)
        return None if isinstance(compiled, tuple) else (language, compiled)

    def _placed(self, path: Path, problem: ExpressionProblem) -> Problem:
        return self._places.inside(
            path,
            problem.offset,
            problem.message,
            hint=problem.hint,
            length=problem.length,
            severity=ProblemSeverity.WARNING if problem.is_warning else ProblemSeverity.ERROR,
        )

    def _note(self, path: Path, language: Language, message: str, *, hint: str | None) -> None:
        self.problems.append(self._places.at((*path, language.value), message, hint=hint))

    def _check_names(self, path: Path, language: Language, compiled: Compiled, allowed: frozenset[str]) -> None:
        for name in sorted(compiled.names - allowed):
            found = re.search(rf"\b{name}\b", compiled.source)
            self.problems.append(
                self._places.inside(
                    (*path, language.value),
                    found.start() if found else 0,
                    _NOT_HERE[name],
                    hint=_HINTS[name],
                    length=len(name),
                )
            )

    def _resolve(self, name: str, above: tuple[str, ...]) -> CompiledExpression | None:
        """A let with all that it reads through others, or None when it is part of a circle."""
        if name in self.lets:
            return self.lets[name]
        if name in above:
            circle = " -> ".join((*above[above.index(name) :], name))
            problem = self._places.at(("let", name), f"the lets read each other in a circle: {circle}", key=True)
            if not any(" in a circle: " in other.message for other in self.problems):
                self.problems.append(problem)
            return None
        if name not in self._sources:
            return None
        language, compiled = self._sources[name]
        expression = self._with_lets(language, compiled, (*above, name))
        if expression is not None:
            self.lets[name] = expression
        return expression

    def _with_lets(
        self, language: Language, compiled: Compiled, above: tuple[str, ...] = ()
    ) -> CompiledExpression | None:
        names, order = set(compiled.names), dict[str, None]()
        for name in sorted(compiled.lets):
            let = self._resolve(name, above)
            if let is None:
                return None
            names |= let.names
            order.update(dict.fromkeys((*let.lets, name)))
        return CompiledExpression(language=language, compiled=compiled, names=frozenset(names), lets=tuple(order))
