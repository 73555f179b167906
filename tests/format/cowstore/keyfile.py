"""The key file of a set of key slots (docs/format.md, "Key file"): which data key is in force, and from which extent on."""

import hmac
import os
import struct
from dataclasses import dataclass

from . import Damage
from .crc32c import crc
from .structures import demand

_COPY = 4096
_HALF = 2 * _COPY


@dataclass
class DataKey:
    key: bytes
    first_extent: int  # extents with a lower id were stored under a data key that is destroyed


@dataclass
class Copy:
    generation: int
    first_extent: int
    nonce: bytes
    wrapped_key: bytes
    tag: bytes
    authenticated: bytes


def _read_copy(data, set_id, half, where):
    demand(len(data) == _COPY and data[:8] == b"CSDATKEY", where, "F1", "not 4096 bytes that begin with the magic")
    version, stored_crc, its_set, generation, key_id, first_extent, nonce, zero, wrapped_key, tag = struct.unpack_from(
        "<II16sQ16sQ12sI64s16s", data, 8)
    demand(version == 1, where, "F2", f"version is {version}")
    demand(stored_crc == crc(data[16:], crc(data[:12])), where, "F3", "checksum does not match")
    demand(its_set == set_id, where, "F4", "it is of another set")
    demand(generation != 0 and generation % 2 == half, where, "F5", f"generation {generation} in half {half}")
    demand(any(key_id) and first_extent != 0, where, "F6", "key_id or first_extent is 0")
    demand(zero == 0 and not any(data[160:]), where, "F7", "a zero field is not 0")
    return Copy(generation, first_extent, nonce, wrapped_key, tag, data[16:64])


def read_key_file(directory, set_id, remarks):
    """The copy in force. A damaged second one is a remark."""
    path = os.path.join(directory, "keys", set_id.hex())
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise Damage(f"{path}: {error.strerror}") from None
    valid, reasons = [], {0: [], 1: []}
    for at in range(0, 2 * _HALF, _COPY):
        half = at // _HALF
        try:
            valid.append(_read_copy(data[at:at + _COPY], set_id, half, f"{path}: copy at {at}"))
        except Damage as damage:
            reasons[half].append(str(damage))
    if not valid:
        raise Damage("; ".join(reasons[0] + reasons[1]))
    current = max(valid, key=lambda each: each.generation)
    remarks += reasons[current.generation % 2]
    return current


def open_key_file(directory, table, disk_key, gcm_open, remarks):
    current = read_key_file(directory, table.set_id, remarks)
    where = f"keys/{table.set_id.hex()}"
    demand(current.generation >= table.generation, where, "generation", f"it is {current.generation}, the key slots say {table.generation}")
    wrapping = hmac.new(disk_key, b"CowScsi key file" + table.set_id, "sha256").digest()
    key = gcm_open(wrapping, current.nonce, current.authenticated, current.wrapped_key, current.tag)
    demand(key is not None, where, "tag", "it does not open with the disk key")
    return DataKey(key, current.first_extent)
