"""The FHIRPath engine's one door; knows nothing of gateways.

`engine` compiles a text and evaluates it. The parser, the element tables and some functions are fhirpathpy's; the
walk, comparisons, dates and functions with a criterion are ours, because the library is wrong there in silence:

    syntax       text to tree, with places                 evaluation   the counted walk, members of elements
    values       elements and System values                operators    infix operators
    model        element names and types                   comparing    equality, equivalence, order
    temporal     dates and times with their precision      filtering    where, select, all, exists, repeat, iif …
    check        functions, arguments, type names          collecting   sets, navigation, types
    typecheck    paths against the element model (kinds)   texts        strings and RE2
    reads        which outside values a text names         numbers      numbers, conversions, the frozen clock
    unsupported  functions that a policy may not use       functions    all of them, with their arguments

The official suite runs against tests/cases/fhirpath-known-failures.yaml, a list that may only shrink.
"""
