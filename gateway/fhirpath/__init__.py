"""FHIRPath: parsed, checked against the element model, compiled to closures, evaluated over plain JSON within a budget.

Knows nothing of gateways. `engine` compiles a text and evaluates it; what it needs, bottom up:

    tree, lexer, parser     text to tree, with places        items        places in the JSON, and their types
    temporal, quantity      dates, times, amounts            equality     `=`, `~`, order, sets
    ucum                    units of measure                 logic        booleans, three-valued
    compiler, closures      tree to closures                 arithmetic   `+ - * / div mod &`
    env                     what an evaluation carries       comparison   `= < in …`, compiled
    library/                every function, by subject       navigation   from an element to its parts
    signature               how a function is declared       type_tests   `is`, `as`, `ofType`
    constructs              functions, arguments, patterns   patterns     regular expressions by RE2
    model                   element names and types          ordering     `sort`
    types_*                 static types and cardinality     markup       the HTML of a narrative
    constraints             HL7's, all in one pass
    reads                   which outside values are read    unsupported  functions that are not there, and why

The official suites run against tests/cases/fhirpath-suite.yaml, a list that may only shrink.
"""
