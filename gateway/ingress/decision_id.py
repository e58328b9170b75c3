"""Decision ids: the time, then 80 random bits, so that no client can guess another's.

The time comes first, as in a UUID of version 7 (RFC 9562 section 5.7): ids sort by time, and what is kept by them
(the journal's index, an auditor's search) stays together.
"""

import time

from gateway.randomness import randomness

_RANDOM_BYTES = 10


def new_decision_id() -> str:
    """32 hexadecimal digits, the first 12 of them milliseconds since the epoch.

    Also the id of OperationOutcomes, which allows neither underscore nor more than 64.
    """
    return f"{time.time_ns() // 1_000_000:012x}{randomness.take(_RANDOM_BYTES).hex()}"
