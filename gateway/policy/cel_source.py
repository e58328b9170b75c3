"""The source text before the engine sees it.

`let` is a reserved word of CEL (https://github.com/google/cel-spec/blob/master/doc/langdef.md, RESERVED), but it is
the language's name for a policy's named values. It is spelled otherwise here, in as many characters, so that every
position in the engine's messages still fits the author's text.
"""

import re

LET = "_et"

_TOKEN = re.compile(
    r"""//[^\n]*
    | [rRbB]{0,2} (?: \"\"\".*?\"\"\" | '''.*?''' )      # raw or not, an escaped quote is handled below
    | [rR][bB]? (?: "[^"\n]*" | '[^'\n]*' )
    | [bB]? (?: "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' )
    | (?P<selected> \.\s*\??\s*[A-Za-z_]\w* )
    | (?P<word> [A-Za-z_]\w* )
    """,
    re.VERBOSE | re.DOTALL,
)


def spell(source: str) -> str:
    """The same text with the name `let` spelled `_et`; strings, comments and `.let` elements stay as they are."""
    return _TOKEN.sub(lambda m: LET if m["word"] == "let" else m[0], source)
