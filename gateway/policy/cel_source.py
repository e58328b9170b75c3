"""The source text before the engine sees it.

`let` is a reserved word of CEL (https://github.com/google/cel-spec/blob/master/doc/langdef.md, RESERVED), but it is
the language's name for a policy's named values. It is spelled otherwise here, in as many characters, so that every
position in the engine's messages still fits the author's text.
"""

import re
from typing import Final

LET: Final = "_et"

_TOKEN: Final = re.compile(
    r'''
      //[^\n]*
    | [bB]?[rR][bB]? (?: """.*?""" | \'\'\'.*?\'\'\' | "[^"\n]*" | '[^'\n]*' )
    | [bB]? (?: """(?:\\.|[^\\])*?""" | \'\'\'(?:\\.|[^\\])*?\'\'\' | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' )
    | \.\s*\??\s*[A-Za-z_]\w*
    | (?P<word> [A-Za-z_]\w* )
    ''',
    re.VERBOSE | re.DOTALL,
)


def spell(source: str) -> str:
    """The same text with the name `let` spelled `_et`; strings, comments and `.let` elements stay as they are."""
    return _TOKEN.sub(lambda found: LET if found["word"] == "let" else found[0], source)
