"""What is stored, taken apart: superblock slot, segment header, batch, descriptor (docs/format.md, same order, same words).

Each `read_...` returns a value of which every predicate holds, or raises Damage with the predicate that does not.
"""

import struct
import uuid
from dataclasses import dataclass, field

from . import Damage
from .crc32c import crc

SECTOR = BLOCK = 4096
PAGE_BLOCKS = 16
BATCH_BYTES_MAX = 524288
DESCRIPTOR_BYTES_MAX = 4032
PAGE_MAX = 1 << 30
SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX = 1 << 20, 1 << 30
BATCH_MAGIC = b"CowBatch"

EXTENT, ZERO, CATALOG_CHANGE, CATALOG_IMAGE, REFERENCE = 1, 2, 3, 4, 5
CODEC_LZ4, CIPHER_XTS = 0x04, 0x10


def demand(holds, where, predicate, text):
    if not holds:
        raise Damage(f"{where}: {predicate}: {text}")


def is_segment_bytes(value):
    return value % SECTOR == 0 and SEGMENT_BYTES_MIN <= value <= SEGMENT_BYTES_MAX


@dataclass
class Superblock:
    sequence: int
    store_id: bytes
    incompatible: int
    compatible: int
    autoclear: int
    state: int
    checkpoint_number: int
    checkpoint_bytes: int
    checkpoint_crc: int
    segment_bytes: int
    salt: bytes
    created: int

    @property
    def clean(self):
        return self.state == 1

    @property
    def tag(self):
        return crc(self.store_id)

    @property
    def name(self):
        return str(uuid.UUID(bytes=self.store_id))


def read_superblock(slot, where):
    demand(len(slot) == 4096 and slot[:8] == b"CowStore", where, "S1", "not 4096 bytes that begin with the magic")
    version, stored_crc, sequence, store_id = struct.unpack_from("<IIQ16s", slot, 8)
    demand(stored_crc == crc(slot[16:], crc(slot[:12])), where, "S2", "checksum does not match")
    demand(version == 1, where, "S3", f"version is {version}, this reader knows 1")
    demand(sequence != 0, where, "S4", "sequence is 0")
    incompatible, compatible, autoclear, state, _, number, size, checkpoint_crc, segment_bytes, salt, created = struct.unpack_from(
        "<QQQIIQQII8sQ", slot, 40)
    demand(state in (1, 2), where, "S5", f"state is {state}")
    demand(is_segment_bytes(segment_bytes), where, "S6", f"segment_bytes is {segment_bytes}")
    return Superblock(sequence, store_id, incompatible, compatible, autoclear, state, number, size, checkpoint_crc, segment_bytes,
                      salt[1:], created)


def read_segment_header(header, where, store_id, number):
    """Returns segment_bytes."""
    demand(len(header) == 4096 and header[:8] == b"CowSegmt", where, "G1", "not 4096 bytes that begin with the magic")
    version, stored_crc, header_store, header_number, segment_bytes = struct.unpack_from("<II16sII", header, 8)
    demand(stored_crc == crc(header[16:], crc(header[:12])), where, "G2", "checksum does not match")
    demand(version == 1, where, "G3", f"version is {version}, this reader knows 1")
    demand(header_store == store_id, where, "G4", "it belongs to another store")
    demand(header_number == number, where, "G5", f"it says it is segment {header_number}")
    demand(is_segment_bytes(segment_bytes), where, "G6", f"segment_bytes is {segment_bytes}")
    return segment_bytes


@dataclass
class Descriptor:
    type: int
    first: int
    blocks: int
    encoding: int
    layer: int
    page: int
    payload_bytes: int
    extent_id: int
    payload_offset: int
    checksums: tuple

    @property
    def compressed(self):
        return bool(self.encoding & CODEC_LZ4)

    @property
    def encrypted(self):
        return bool(self.encoding & CIPHER_XTS)

    @property
    def is_catalog(self):
        return self.type in (CATALOG_CHANGE, CATALOG_IMAGE)

    def matches(self, payload):
        """Whether the payload has every checksum; a payload that the file cuts off has not."""
        if len(payload) != self.payload_bytes:
            return False
        if self.type == EXTENT and not self.compressed:
            return all(crc(payload[at * BLOCK:(at + 1) * BLOCK]) == self.checksums[at] for at in range(self.blocks))
        return self.type == ZERO or crc(payload) == self.checksums[0]


def read_descriptor(data, batch_length, where):
    """Returns the descriptor at the start of data, which ends where the batch's descriptors end, and its size."""
    demand(len(data) >= 28, where, "D2", "less than 28 bytes are left")
    kind, units, blocks, encoding, layer, page, payload_bytes, extent_id, payload_offset = struct.unpack_from("<BBBBIIIQI", data)
    demand(1 <= kind <= 5, where, "D1", f"type is {kind}")
    first, count = blocks & 15, (blocks >> 4) + 1
    compressed = kind == EXTENT and encoding & CODEC_LZ4
    checksums = 0 if kind == ZERO else count if kind == EXTENT and not compressed else 1
    size = (28 + 4 * checksums + 7) & ~7
    demand(units * 8 == size and size <= len(data), where, "D2",
           f"it has {units * 8} bytes, its fields take {size}, {len(data)} are left")
    if kind in (EXTENT, ZERO, REFERENCE):
        demand(layer != 0 and extent_id != 0, where, "D3", f"layer {layer}, extent id {extent_id}")
    demand(first + count <= PAGE_BLOCKS and page < PAGE_MAX, where, "D4", f"first block {first}, {count} blocks, page {page}")
    if kind == ZERO:
        demand(payload_bytes == 0 and payload_offset == 0, where, "D5", "a zero record with a payload")
    else:
        if kind == EXTENT:
            demand(16 <= payload_bytes <= 65535 if compressed else payload_bytes == count * BLOCK, where, "D5",
                   f"payload of {payload_bytes} bytes for {count} blocks")
        demand(payload_offset >= SECTOR and payload_offset + payload_bytes <= batch_length, where, "D5",
               f"payload of {payload_bytes} bytes at {payload_offset} in a batch of {batch_length}")
    demand(encoding & ~(CODEC_LZ4 | CIPHER_XTS) == 0, where, "D6", f"encoding is {encoding:02x}h")
    values = struct.unpack_from(f"<{checksums}I", data, 28)
    return Descriptor(kind, first, count, encoding, layer, page, payload_bytes, extent_id, payload_offset, values), size


@dataclass
class Batch:
    length: int
    sequence: int
    durable_sequence: int
    segment: int
    offset: int
    previous_segment: int
    previous_end: int
    descriptors: list = field(default_factory=list)

    @property
    def end(self):
        return self.offset + self.length


def read_batch(header, segment, offset, segment_bytes, tag, where):
    """A batch that stands for itself: B1 to B4, and B6. B5 and B7 are the chain's."""
    batch = read_batch_header(header, segment, offset, segment_bytes, tag, where)
    count, used = struct.unpack_from("<HH", header, 48)
    demand(used <= DESCRIPTOR_BYTES_MAX, where, "B6", f"descriptor_bytes is {used}")
    at = 64
    while at < 64 + used:
        descriptor, size = read_descriptor(header[at:64 + used], batch.length, f"{where}: B6: descriptor at {at}")
        batch.descriptors.append(descriptor)
        at += size
    demand(len(batch.descriptors) == count, where, "B6", f"{len(batch.descriptors)} descriptors where the header says {count}")
    return batch


def read_batch_header(header, segment, offset, segment_bytes, tag, where):
    """B1 to B4: what a header block shows on its own."""
    demand(header[:8] == BATCH_MAGIC and len(header) == SECTOR, where, "B1", "no batch begins here")
    stored_crc, length, sequence, durable, own_segment, own_offset, previous_segment, previous_end = struct.unpack_from(
        "<IIQQIIII", header, 8)
    demand(stored_crc == crc(header[12:], tag), where, "B2", "checksum does not match")
    demand(own_segment == segment and own_offset == offset, where, "B3", f"it was written for segment {own_segment} offset {own_offset}")
    demand(length % SECTOR == 0 and SECTOR <= length <= BATCH_BYTES_MAX and offset + length <= segment_bytes, where, "B4",
           f"length is {length}, the segment ends at {segment_bytes}")
    return Batch(length, sequence, durable, own_segment, own_offset, previous_segment, previous_end)
