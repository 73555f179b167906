"""A checkpoint file (docs/format.md, "Checkpoint"). The reader needs of it only how far the log had been durable."""

import os
import struct
from dataclasses import dataclass

from .crc32c import crc
from .structures import demand


@dataclass
class Checkpoint:
    next_sequence: int
    end: tuple
    next_extent_id: int
    image_segment: int
    index_name: str
    index_bytes: int
    index_crc: int
    log_name: str
    log_tail: int
    sums_crc: int
    last_chunk: bytes
    catalog_parts: list
    segments: dict  # number to (segment_bytes, end, flags, entries)
    layers: dict    # id to (stored_bytes, written_blocks, set of pages)


class _Lists:
    def __init__(self, data, where):
        self.data, self.at, self.where = data, 144, where

    def take(self, size):
        demand(0 <= size <= len(self.data) - self.at, self.where, "P3", f"{size} bytes at {self.at} of {len(self.data)}")
        self.at += size
        return self.data[self.at - size:self.at]

    def unpack(self, layout):
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def count(self):
        value, = self.unpack("<i")
        demand(value >= 0, self.where, "P3", f"a count of {value} at {self.at - 4}")
        return value


def read_checkpoint(directory, superblock):
    """The checkpoint that the superblock names; None where there is none, or its file is not there (it may be deleted)."""
    if superblock.checkpoint_number == 0:
        return None
    path = os.path.join(directory, f"checkpoint-{superblock.checkpoint_number}")
    if not os.path.exists(path):
        return None
    with open(path, "rb") as file:
        data = file.read()
    demand(len(data) == superblock.checkpoint_bytes and crc(data) == superblock.checkpoint_crc, path, "P1",
           f"{len(data)} bytes; length or checksum is not the superblock's")
    demand(len(data) >= 144, path, "P3", f"{len(data)} bytes")
    magic, version, zero, store_id, number, next_sequence, end_segment, end_offset, next_extent, _, image_segment, index_token, _, \
        index_bytes, index_crc, _, _, log_tail, sums_crc, _ = struct.unpack_from("<8sII16sQQIIQII16s16sQIIqqII", data)
    demand(magic == b"CowCkpnt" and version == 1 and zero == 0 and store_id == superblock.store_id, path, "P2",
           "magic, version or store_id")
    demand(number == superblock.checkpoint_number, path, "number", f"it says it is checkpoint {number}")

    lists = _Lists(data, path)
    for _ in range(2):
        lists.take(lists.count())
    log_name = lists.take(lists.count()).decode()
    last_chunk = lists.take(lists.count())
    parts = [lists.take(lists.count()) for _ in range(lists.count())]
    segments = {}
    for _ in range(lists.count()):
        segment, segment_bytes, end, flags, entries = lists.unpack("<IIIB3xQ")
        segments[segment] = (segment_bytes, end, flags, entries)
    layers = {}
    for _ in range(lists.count()):
        layer, chunks, stored_bytes, written_blocks = lists.unpack("<IIQQ")
        pages = set()
        for _ in range(chunks):
            index, bits = lists.unpack("<I512s")
            word = int.from_bytes(bits, "little")
            pages.update(index * 4096 + bit for bit in range(4096) if word >> bit & 1)
        layers[layer] = (stored_bytes, written_blocks, pages)
    demand(lists.at == len(data), path, "P3", f"{len(data) - lists.at} bytes behind the lists")
    return Checkpoint(next_sequence, (end_segment, end_offset), next_extent, image_segment, f"index-{index_token.hex()}.ht.0",
                      index_bytes, index_crc, log_name, log_tail, sums_crc, last_chunk, parts, segments, layers)
