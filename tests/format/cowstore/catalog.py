"""Catalog records, the catalog they make, and disk attributes (docs/format.md, "Catalog record", "Disk attributes")."""

import re
import struct
from dataclasses import dataclass, field

from . import Damage
from .structures import CATALOG_IMAGE, demand

LAYER, DISK, SNAPSHOT, SETTING, SEGMENTS = 1, 2, 3, 4, 5
PUT, REMOVE = 1, 2
IMAGE_FIRST, IMAGE_LAST = 1, 2
_NAME = re.compile(rb"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass
class Row:
    kind: int
    action: int
    id: object
    value: object


@dataclass
class Disk:
    id: int
    head: int
    origin: int
    logical_block_bytes: int
    size: int
    created: int
    uuid: bytes
    name: str
    attributes: bytes


@dataclass
class Snapshot:
    id: int
    disk: int
    layer: int
    size: int
    created: int
    name: str


@dataclass
class Record:
    next_layer: int
    next_disk: int
    next_snapshot: int
    next_extent: int
    image_flags: int
    rows: list


def _name(data, where):
    demand(_NAME.fullmatch(data) is not None, where, "name", f"{data!r} is not a name")
    return data.decode("ascii")


def _put(kind, body, where):
    if kind == LAYER:
        demand(len(body) == 8, where, "C3", f"a layer of {len(body)} bytes")
        layer, parent = struct.unpack("<II", body)
        demand(layer != 0, where, "C4", "layer id is 0")
        return layer, parent
    if kind == DISK:
        demand(len(body) >= 52, where, "C3", f"a disk of {len(body)} bytes")
        disk, head, origin, logical, size, created, identity, name_bytes, attribute_bytes = struct.unpack_from("<IIIIQQ16sHH", body)
        demand(len(body) == 52 + name_bytes + attribute_bytes, where, "C3", f"a disk of {len(body)} bytes")
        demand(disk != 0 and head != 0, where, "C4", f"disk id {disk}, head {head}")
        name = _name(body[52:52 + name_bytes], where)
        return disk, Disk(disk, head, origin, logical, size, created, identity, name, body[52 + name_bytes:])
    if kind == SNAPSHOT:
        demand(len(body) >= 36, where, "C3", f"a snapshot of {len(body)} bytes")
        snapshot, disk, layer, _, size, created, name_bytes, _ = struct.unpack_from("<IIIIQQHH", body)
        demand(len(body) == 36 + name_bytes, where, "C3", f"a snapshot of {len(body)} bytes")
        demand(snapshot != 0 and disk != 0 and layer != 0, where, "C4", f"snapshot id {snapshot}, disk {disk}, layer {layer}")
        return snapshot, Snapshot(snapshot, disk, layer, size, created, _name(body[36:], where))
    if kind == SETTING:
        return _setting(body, where)
    demand(len(body) % 4 == 0, where, "C3", f"segments of {len(body)} bytes")
    return None, struct.unpack(f"<{len(body) // 4}I", body)


def _setting(body, where):
    demand(len(body) >= 4, where, "C3", f"a setting of {len(body)} bytes")
    key_bytes, value_bytes = struct.unpack_from("<HH", body)
    demand(key_bytes != 0 and len(body) == 4 + key_bytes + value_bytes, where, "C3", f"a setting of {len(body)} bytes")
    return body[4:4 + key_bytes], body[4 + key_bytes:]


def _removed(kind, body, where):
    demand(kind != SEGMENTS, where, "C3", "segments are removed")
    if kind == SETTING:
        key, value = _setting(body, where)
        demand(not value, where, "C3", "a setting is removed with a value")
        return key, None
    demand(len(body) == 4, where, "C3", f"a removal of {len(body)} bytes")
    gone, = struct.unpack("<I", body)
    demand(gone != 0, where, "C4", "id is 0")
    return gone, None


def read_record(data, where):
    demand(len(data) >= 24, where, "C1", f"{len(data)} bytes")
    next_layer, next_disk, next_snapshot, row_count, image_flags, _, next_extent = struct.unpack_from("<IIIHBBQ", data)
    rows, at = [], 24
    for number in range(row_count):
        row = f"{where}: row {number}"
        demand(at + 4 <= len(data), row, "C1", "it is cut off")
        kind, action, body_bytes = struct.unpack_from("<BBH", data, at)
        demand(1 <= kind <= 5 and action in (PUT, REMOVE), row, "C2", f"kind {kind}, action {action}")
        body = data[at + 4:at + 4 + body_bytes]
        demand(len(body) == body_bytes, row, "C1", "it is cut off")
        rows.append(Row(kind, action, *(_put if action == PUT else _removed)(kind, body, row)))
        at += 4 + body_bytes
    demand(at == len(data), where, "C1", f"{len(data) - at} bytes behind the last row")
    return Record(next_layer, next_disk, next_snapshot, next_extent, image_flags, rows)


@dataclass
class Rows:
    """The state that rows are put into: id to parent, disk, snapshot; key to value; segment numbers."""
    layers: dict = field(default_factory=dict)
    disks: dict = field(default_factory=dict)
    snapshots: dict = field(default_factory=dict)
    settings: dict = field(default_factory=dict)
    segments: set = field(default_factory=set)

    def apply(self, record, with_segments):
        tables = {LAYER: self.layers, DISK: self.disks, SNAPSHOT: self.snapshots, SETTING: self.settings}
        for row in record.rows:
            if row.kind == SEGMENTS:
                if with_segments:
                    self.segments.update(row.value)
            elif row.action == PUT:
                tables[row.kind][row.id] = row.value
            else:
                tables[row.kind].pop(row.id, None)


class Catalog:
    """The catalog as of a place in the log: records are applied in their order."""

    def __init__(self):
        self.rows = Rows()
        self.image_segment = 0  # in which the newest whole image begins; 0 without one
        self.next_extent = 1
        self._next = [1, 1, 1]
        self._fresh = None
        self._fresh_segment = 0

    def apply(self, kind, record, segment):
        if kind == CATALOG_IMAGE:
            if record.image_flags & IMAGE_FIRST:
                self._fresh, self._fresh_segment = Rows(), segment
            if self._fresh is None:
                return
            self._fresh.apply(record, with_segments=True)
            if record.image_flags & IMAGE_LAST:
                self.rows, self.image_segment, self._fresh = self._fresh, self._fresh_segment, None
        else:
            self.rows.apply(record, with_segments=False)
        ids = (record.next_layer, record.next_disk, record.next_snapshot)
        self._next = [max(known, new) for known, new in zip(self._next, ids)]
        self.next_extent = max(self.next_extent, record.next_extent)

    def check(self):
        """K1 to K4, and that no id stands which the next ids say was never given out."""
        rows = self.rows
        for layer, parent in rows.layers.items():
            demand(parent == 0 or parent in rows.layers, "catalog", "K1", f"layer {layer} stands on layer {parent}, which is not there")
            demand(parent < layer, "catalog", "K2", f"layer {layer} stands on layer {parent}")
        for disk in rows.disks.values():
            demand(disk.head in rows.layers, "catalog", "K3", f"disk {disk.name}: its head, layer {disk.head}, is not there")
        for snapshot in rows.snapshots.values():
            demand(snapshot.layer in rows.layers and snapshot.disk in rows.disks, "catalog", "K4",
                   f"snapshot {snapshot.name}: layer {snapshot.layer} or disk {snapshot.disk} is not there")
        for ids, next_id in zip((rows.layers, rows.disks, rows.snapshots), self._next):
            if max(ids, default=0) >= next_id:
                raise Damage(f"catalog: id {max(ids)} is in use, but the next one to be given out is {next_id}")

    def line(self, layer):
        """The layer and what it stands on, newest first."""
        while layer != 0:
            yield layer
            layer = self.rows.layers[layer]

    def named(self):
        """Every disk and snapshot: address, size, layer, disk; disks by name, snapshots by age."""
        for disk in sorted(self.rows.disks.values(), key=lambda each: each.name):
            yield disk.name, disk.size, disk.head, disk
            for snapshot in sorted(self.rows.snapshots.values(), key=lambda each: each.id):
                if snapshot.disk == disk.id:
                    yield f"{disk.name}@{snapshot.name}", snapshot.size, snapshot.layer, disk


@dataclass
class Attributes:
    compression: int
    encryption: int
    base_format: int
    base_bytes: int
    path: str
    key_slots: bytes


def read_attributes(data, where):
    demand(len(data) >= 16 and data[0] == 1, where, "A1", f"{len(data)} bytes, version {data[0] if data else 'missing'}")
    _, compression, encryption, base_format, base_bytes, path_bytes, key_slot_bytes = struct.unpack_from("<BBBBQHH", data)
    demand(16 + path_bytes + key_slot_bytes == len(data), where, "A2", f"{len(data)} bytes")
    demand(compression in (1, 2) and encryption in (1, 2) and base_format <= 2, where, "A3",
           f"compression {compression}, encryption {encryption}, base_format {base_format}")
    demand((key_slot_bytes != 0) == (encryption != 1) and (path_bytes != 0) == (base_format != 0), where, "A4",
           f"key_slot_bytes {key_slot_bytes}, path_bytes {path_bytes}")
    path = data[16:16 + path_bytes].decode("utf-8")
    return Attributes(compression, encryption, base_format, base_bytes, path, data[16 + path_bytes:])
