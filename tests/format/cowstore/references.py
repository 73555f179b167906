"""What a block of a layer is: bytes of an extent, or zeros; said by an extent, zero or reference record (docs/format.md, "Reference")."""

import struct
from dataclasses import dataclass

from .structures import BLOCK, CIPHER_XTS, CODEC_LZ4, EXTENT, PAGE_BLOCKS, REFERENCE, SECTOR, ZERO, demand

_DATA_KIND, _ZERO_KIND = 1, 2


@dataclass(frozen=True)
class Stored:
    """Raw bytes of one block, or the compressed extent that it is in; of zeros only what tells which record they are of."""
    order: int           # extent id of the record that says so: the highest counts
    record_segment: int  # in which that record lies
    zero: bool
    extent_id: int
    segment: int
    offset: int
    stored_bytes: int
    index: int           # of the block in its extent
    blocks: int          # of the extent
    encoding: int
    checksum: int

    @property
    def compressed(self):
        return bool(self.encoding & CODEC_LZ4)


def blocks_of(batch, descriptor, payload, where):
    """Yields (block of the layer, Stored) for each block that a record says something of."""
    page = descriptor.page * PAGE_BLOCKS
    if descriptor.type == REFERENCE:
        for first, run in read_runs(batch, descriptor, payload, where):
            yield from ((page + first + at, stored) for at, stored in enumerate(run))
        return
    for at in range(descriptor.blocks if descriptor.type in (EXTENT, ZERO) else 0):
        yield page + descriptor.first + at, _own(batch, descriptor, at)


def _own(batch, descriptor, at):
    if descriptor.type == ZERO:
        return _zeros(batch, descriptor)
    place = batch.offset + descriptor.payload_offset
    raw = not descriptor.compressed
    return Stored(descriptor.extent_id, batch.segment, False, descriptor.extent_id, batch.segment, place + (at * BLOCK if raw else 0),
                  BLOCK if raw else descriptor.payload_bytes, at, descriptor.blocks, descriptor.encoding, descriptor.checksums[at if raw else 0])


def _zeros(batch, descriptor):
    return Stored(descriptor.extent_id, batch.segment, True, descriptor.extent_id, batch.segment, batch.offset, 0, 0, 1, 0, 0)


def read_runs(batch, descriptor, payload, where):
    """The runs of a reference: (first block in the page, list of Stored), by X1 to X6."""
    demand(len(payload) > 0, where, "X1", "no run")
    at = end = 0
    runs = []
    while at < len(payload):
        demand(len(payload) - at >= 24, where, "X1", f"{len(payload) - at} bytes are left for a run")
        extent_id, segment, offset, stored_bytes, place, flags, blocks, zero = struct.unpack_from("<QIIHBBB3s", payload, at)
        kind, encoding = flags & 3, flags & ~3
        first, count = blocks & 15, (blocks >> 4) + 1
        raw = not encoding & CODEC_LZ4
        checksums = 0 if kind != _DATA_KIND else count if raw else 1
        demand(len(payload) - at >= 24 + 4 * checksums, where, "X1", f"{len(payload) - at} bytes are left for a run of {24 + 4 * checksums}")
        demand(first >= end and first + count <= PAGE_BLOCKS, where, "X2", f"{count} blocks from {first}, behind {end}")
        demand(kind in (_DATA_KIND, _ZERO_KIND) and encoding & ~(CODEC_LZ4 | CIPHER_XTS) == 0 and not any(zero), where, "X3", f"flags are {flags:02x}h")
        sums = struct.unpack_from(f"<{checksums}I", payload, at + 24)
        if kind == _ZERO_KIND:
            demand(not any(payload[at:at + 19]) and encoding == 0, where, "X6", "zeros with an extent")
            runs.append((first, [_zeros(batch, descriptor)] * count))
        else:
            record = (batch.segment, batch.offset + descriptor.payload_offset)
            demand(0 < extent_id < descriptor.extent_id and segment != 0 and 2 * SECTOR <= offset < 1 << 30 and (segment, offset) < record, where, "X4",
                   f"extent {extent_id} at segment {segment} offset {offset}")
            index, total = place & 15, (place >> 4) + 1
            demand((stored_bytes == BLOCK if raw else stored_bytes >= 16) and index + count <= total, where, "X5",
                   f"{stored_bytes} bytes, blocks {index} to {index + count - 1} of {total}")
            runs.append((first, [
                Stored(descriptor.extent_id, batch.segment, False, extent_id, segment, offset + (each * BLOCK if raw else 0), stored_bytes,
                       index + each, total, encoding, sums[each if raw else 0]) for each in range(count)]))
        end = first + count
        at += 24 + 4 * checksums
    return runs
