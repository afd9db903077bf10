"""How often Python looks for garbage that only its collector finds.

By itself it looks when 700 objects more were made than have gone.  The messages of one poll are more than that, and all
of them are wanted until they are saved: looking at them in vain took a fifth (journal) to a third (Kafka) of a consumer's
processor time, 1.0 s for 100,000 messages of Kafka where 0.7 is enough.

What nothing refers to goes at once, as before.  Only what refers to itself waits for longer, and there is hardly any:
after 200,000 messages without the collector it was 360 kB.
"""

from __future__ import annotations

import gc

MORE = 50_000, 5, 5
"""So many more objects before it looks among the newest, and so many looks there before one among older ones.

A whole poll is fewer objects, and so many small ones take some ten megabytes.
"""


def collect_seldom() -> None:
    """Let this process's collector wait until there is more to look at; for whoever owns the process to say."""
    gc.set_threshold(*MORE)
