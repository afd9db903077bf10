"""Messages of others to readings: all that a poll brought at once, by the mapping that the pipeline file gives.

The bodies of many messages are put together and read as one text by the codec of their form; what travels beside them
(topic, key, times) is columns too, with a value for each message.  If anything is amiss, the messages are read in ever
smaller groups, and in the end row by row: so what has a fault is a reject with its own bytes, and changes nothing
for the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tocsin.codecs import LineProtocolSettings, MessageSettings
from tocsin.codecs._cells import Alongside
from tocsin.codecs.line_protocol import Lines
from tocsin.codecs.messages.beside import Beside
from tocsin.codecs.messages.forms import LONG, Form, Read, few_of_each, form_of
from tocsin.codecs.readings import Decoder as OwnDecoder
from tocsin.codecs.readings.found import Fault
from tocsin.message import Message
from tocsin.reading import Batch, Series
from tocsin.record import Reject, few


class Decoder:
    """Reads the messages of one source; used by one thread."""

    def __init__(self, settings: MessageSettings, series: Series) -> None:
        self._series = series
        self._beside = Beside(settings)
        form = settings.form
        self._own = OwnDecoder(series) if form is None else None
        self._lines = Lines(series, form.device, form.precision) if isinstance(form, LineProtocolSettings) else None
        self._form = None if form is None or isinstance(form, LineProtocolSettings) else form_of(form, series)

    def decode(self, messages: Sequence[Message], arrivals: Sequence[int]) -> Read:
        """The readings of messages, each of which arrived at its instant (nanoseconds)."""
        if self._own is not None:
            found = self._own.decode(messages)
            return few_of_each(found.batch, found.rejects)
        places, faults = self._readable(messages)
        chosen, at = [messages[place] for place in places], [arrivals[place] for place in places]
        reads = list(self._by_line(chosen, at) if self._form is None else self._mapped(self._form, chosen, at))
        batch = Batch.join([batch for batch, _ in reads]) if reads else Batch.empty(self._series)
        faults += [(places[place], reject) for _, some in reads for place, reject in some]
        return batch, sorted(faults, key=lambda fault: fault[0])

    def _readable(self, messages: Sequence[Message]) -> tuple[list[int], list[Fault]]:
        """The places of messages that can be looked into, and why others cannot."""
        places, faults = [], []
        for place, message in enumerate(messages):
            why = self._beside.wrong(message) or ("" if message.body else "the message is empty")
            if why:
                faults.append((place, Reject(message.body, {}, why)))
            else:
                places.append(place)
        return places, faults

    def _by_line(self, messages: Sequence[Message], arrivals: Sequence[int]) -> Iterator[Read]:
        assert self._lines is not None
        for place, message in enumerate(messages):
            told = self._lines.read(message.body, arrival=arrivals[place])
            bad = few([Reject(raw, {"line": line}, why) for line, raw, why in told.bad])
            yield told.batch, [(place, reject) for reject in bad]

    def _mapped(self, form: Form, messages: Sequence[Message], arrivals: Sequence[int]) -> Iterator[Read]:
        columns = self._beside.columns(messages, arrivals)
        bodies = [message.body for message in messages]
        if bodies:
            yield from _narrow(form, bodies, Alongside(columns), 0)


def _narrow(form: Form, bodies: Sequence[bytes], beside: Alongside, first: int) -> Iterator[Read]:
    """What some messages hold, read at once if it can be; `first` is the place of the first one."""
    batch = form.at_once(bodies, beside, first) if len(bodies) > 1 else None
    if batch is not None:
        yield batch, []
    elif len(bodies) == 1 or sum(map(len, bodies)) <= LONG:
        yield form.closely(bodies, beside, first)
    else:
        size = -(-len(bodies) // _PARTS)
        for low in range(0, len(bodies), size):
            yield from _narrow(form, bodies[low : low + size], beside, first + low)


_PARTS = 16
