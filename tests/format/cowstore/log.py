"""Segments, and the chain of batches through them (docs/format.md, "Segment", "Grammar of the log", "The log's end")."""

import os
import re
from dataclasses import dataclass

from . import Damage
from .structures import BATCH_MAGIC, EXTENT, REFERENCE, SECTOR, ZERO, read_batch, read_batch_header, read_segment_header

_FILE_NAME = re.compile(r"[0-9a-f]{8}\.seg")


@dataclass
class Segment:
    number: int
    path: str
    data: bytes
    segment_bytes: int

    def where(self, offset):
        return f"{self.path}: offset {offset}"


@dataclass
class Gap:
    """Segments that are not there: behind `before`, up to the one that the batch in `after` names as its predecessor."""
    before: int
    missing: int
    after: int
    expected: int  # sequence


def read_segments(directory, store_id):
    """Number to segment, ascending; unborn ones are left out."""
    folder = os.path.join(directory, "segments")
    found = {}
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if not _FILE_NAME.fullmatch(name) or name == "00000000.seg":
            continue
        path = os.path.join(folder, name)
        with open(path, "rb") as file:
            data = file.read()
        unborn = len(data) < SECTOR or (not any(data[:SECTOR]) and data[SECTOR:SECTOR + 8] != BATCH_MAGIC)
        if not unborn:
            number = int(name[:8], 16)
            found[number] = Segment(number, path, data, read_segment_header(data[:SECTOR], path, store_id, number))
    return found


class Log:
    """The chain from the first batch to the log's end.

    `floor` is next_sequence - 1 of the checkpoint in force, 0 without one; `floor_name` says where that stands.
    """

    def __init__(self, segments, tag, floor, floor_name):
        self.segments, self.tag = segments, tag
        self.order = list(segments)
        self.chain, self.gaps = [], []
        self.torn = None  # what a crash took: text, or None
        self._floor, self._floor_name = floor, floor_name
        self._follow()
        self._judge_end()
        self._cut_intact_tail()

    def payload(self, batch, descriptor):
        at = batch.offset + descriptor.payload_offset
        return self.segments[batch.segment].data[at:at + descriptor.payload_bytes]

    def stored(self, stored, where):
        """The bytes that a map entry would point at."""
        segment = self.segments.get(stored.segment)
        if segment is None:
            raise Damage(f"{where}: it lies in segment {stored.segment:08x}, which is not there")
        return segment.data[stored.offset:stored.offset + stored.stored_bytes]

    def _batch_at(self, number, offset, read=read_batch):
        segment = self.segments[number]
        return read(segment.data[offset:offset + SECTOR], number, offset, segment.segment_bytes, self.tag, segment.where(offset))

    def _follow(self):
        for number in self.order:
            if not any(self.segments[number].data[SECTOR:2 * SECTOR]):
                continue
            try:
                self.chain.append(self._batch_at(number, SECTOR))
            except Damage:
                if len(self.order) > 1:
                    raise
            break
        while self.chain and self._step():
            pass

    def _step(self):
        last = self.chain[-1]
        later = next((number for number in self.order if number > last.segment), None)
        self._reason = None
        for number, offset in ((last.segment, last.end), (later, SECTOR)):
            if number is None:
                continue
            try:
                batch = self._batch_at(number, offset)
                self._demand_link(last, batch)
            except Damage as damage:
                self._reason = self._reason or damage
                continue
            self.chain.append(batch)
            return True
        return False

    def _demand_link(self, last, batch):
        """B5 and B7, or a gap."""
        where = self.segments[batch.segment].where(batch.offset)
        expected, named = last.sequence + 1, batch.previous_segment
        if batch.sequence == expected and (named, batch.previous_end) == (last.segment, last.end):
            return
        if batch.segment != last.segment and batch.sequence > expected and named > last.segment and named not in self.segments:
            self.gaps.append(Gap(last.segment, named, batch.segment, expected))
            return
        if batch.sequence != expected:
            raise Damage(f"{where}: B5: sequence is {batch.sequence} instead of {expected}")
        raise Damage(f"{where}: B7: it follows segment {named} offset {batch.previous_end}")

    @property
    def missing_sequence(self):
        return self.chain[-1].sequence + 1 if self.chain else 1

    @property
    def end(self):
        """Segment and offset at which the last batch ends."""
        return (self.chain[-1].segment, self.chain[-1].end) if self.chain else (0, 0)

    def _judge_end(self):
        """Rules 1 and 2: what is known to have been durable, and whether all of it is there."""
        self.durable, proof = self._floor, self._floor_name
        for batch in self.chain:
            if batch.durable_sequence > self.durable:
                self.durable, proof = batch.durable_sequence, f"batch {batch.sequence}"
        end_segment, end_offset = self.end
        self.clean_behind = True
        for number in self.order:
            if number < end_segment:
                continue
            data = self.segments[number].data
            start = end_offset if number == end_segment else SECTOR
            if data.count(0, start) != len(data) - min(start, len(data)):
                self.clean_behind = False
            for offset in range(start, len(data), SECTOR):
                if data[offset:offset + 8] != BATCH_MAGIC:
                    continue
                try:
                    batch = self._batch_at(number, offset, read_batch_header)
                except Damage:
                    continue
                if batch.sequence > self.missing_sequence and batch.durable_sequence > self.durable:
                    self.durable, proof = batch.durable_sequence, f"batch {batch.sequence} at {self.segments[number].where(offset)}"
        if self.missing_sequence <= self.durable:
            place = self.segments[end_segment].where(end_offset) if self.chain else "segments"
            raise Damage(f"{place}: batch {self.missing_sequence} is not there, but {proof} says that {self.durable} was durable; "
                         f"{self._reason if self.chain else 'no batch was found'}")

    def _cut_intact_tail(self):
        """Rule 3: of what nothing proves durable, a batch whose payloads do not match ends the chain in front of it."""
        for index, batch in enumerate(self.chain):
            if batch.sequence <= self.durable:
                continue
            if not all(descriptor.matches(self.payload(batch, descriptor)) for descriptor in batch.descriptors):
                self.torn = f"{self.segments[batch.segment].where(batch.offset)}: batch {batch.sequence} was not written wholly"
                self.gaps = [gap for gap in self.gaps if gap.expected < batch.sequence]
                del self.chain[index:]
                return
        if not self.clean_behind:
            self.torn = f"something that is no batch of the chain lies behind batch {self.missing_sequence - 1}"

    def check_gaps(self, catalog, checkpoint_sequence):
        """Whether the segments that are not there may be missing; `checkpoint_sequence` is that of the first batch behind it, or None."""
        first = self.chain[0] if self.chain else None
        if first and first.sequence != 1 and catalog.image_segment == 0:
            raise Damage(f"{self.segments[first.segment].path}: the log begins with batch {first.sequence} and has no catalog image")
        in_chain = {batch.segment for batch in self.chain}
        for number in sorted(catalog.rows.segments - in_chain):
            raise Damage(f"segments/{number:08x}.seg: the last catalog image needs it, and it has no batch in the chain")
        for gap in self.gaps:
            if gap.missing >= catalog.image_segment:
                raise Damage(f"segments/{gap.missing:08x}.seg: it is not there, but the last image begins in {catalog.image_segment:08x}")
            if checkpoint_sequence is not None and gap.expected >= checkpoint_sequence:
                raise Damage(f"segments/{gap.missing:08x}.seg: it is not there, but lies behind the checkpoint")

    def check_order(self):
        """Extent ids ascend through the log; payloads stand tightly in the order of their descriptors, zeros behind them."""
        last_id = 0
        for batch in self.chain:
            where = self.segments[batch.segment].where(batch.offset)
            at = SECTOR
            for descriptor in batch.descriptors:
                if descriptor.type in (EXTENT, ZERO, REFERENCE):
                    if descriptor.extent_id <= last_id:
                        raise Damage(f"{where}: extent id {descriptor.extent_id} comes after {last_id}")
                    last_id = descriptor.extent_id
                if descriptor.type != ZERO:
                    if descriptor.payload_offset != at:
                        raise Damage(f"{where}: a payload stands at {descriptor.payload_offset} instead of {at}")
                    at += descriptor.payload_bytes
            if batch.length != (at + SECTOR - 1) // SECTOR * SECTOR:
                raise Damage(f"{where}: length is {batch.length}, its payloads end at {at}")
            if any(self.segments[batch.segment].data[batch.offset + at:batch.end]):
                raise Damage(f"{where}: the padding is not zeros")
