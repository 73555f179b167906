"""A store as its superblock and segments have it (docs/format.md, "Rebuild"). Nothing derived is used for content."""

import os

from . import CannotRun, Damage
from .catalog import Catalog, read_attributes, read_record
from .checkpoint import read_checkpoint
from .crc32c import crc
from .keys import decode, open_table, read_table
from .log import Log, read_segments
from .references import blocks_of
from .structures import BLOCK, REFERENCE, demand, read_superblock

_KNOWN_INCOMPATIBLE = 0xF  # bit 0 LZ4, bit 1 encryption, bit 2 references, bit 3 key files


class Store:
    def __init__(self, directory):
        self.directory = directory
        self.remarks = []  # what a crash or damage left that the format has an answer for
        self.superblock = self._superblock()
        self.checkpoint = self._checkpoint()
        after = self.checkpoint.next_sequence if self.checkpoint else None
        name = f"checkpoint-{self.superblock.checkpoint_number}"
        self.log = Log(read_segments(directory, self.superblock.store_id), self.superblock.tag, after - 1 if after else 0, name)
        if self.log.torn:
            self.remarks.append(self.log.torn)
        self.catalog = Catalog()
        self._apply_catalog()
        self.log.check_gaps(self.catalog, after)
        self.records = self._newest_records()

    def _superblock(self):
        path = os.path.join(self.directory, "superblock")
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise CannotRun(f"{path}: {error.strerror}") from None
        valid, reasons = [], []
        for number in (0, 1):
            slot = data[number * 4096:(number + 1) * 4096]
            if not any(slot):
                continue
            try:
                valid.append(read_superblock(slot, f"{path}: slot {number}"))
            except Damage as damage:
                reasons.append(str(damage))
        if not valid:
            raise Damage("; ".join(reasons) or f"{path}: no slot was ever written")
        self.remarks += reasons
        newest = max(valid, key=lambda each: each.sequence)
        unknown = newest.incompatible & ~_KNOWN_INCOMPATIBLE
        if unknown:
            raise CannotRun(f"{path}: incompatible features {unknown:#x} are not known to this reader")
        return newest

    def _checkpoint(self):
        try:
            return read_checkpoint(self.directory, self.superblock)
        except Damage as damage:
            self.remarks.append(str(damage))
            return None

    def _apply_catalog(self):
        for batch in self.log.chain:
            for descriptor in batch.descriptors:
                if not descriptor.is_catalog:
                    continue
                where = f"{self.log.segments[batch.segment].where(batch.offset)}: catalog record"
                payload = self.log.payload(batch, descriptor)
                if not descriptor.matches(payload):
                    raise Damage(f"{where}: checksum does not match")
                self.catalog.apply(descriptor.type, read_record(payload, where), batch.segment)
        self.catalog.check()

    def _newest_records(self):
        """Layer to block to (batch, descriptor): of the layer's records the one with the highest id that covers the block."""
        found = {layer: {} for layer in self.catalog.rows.layers}
        for batch in self.log.chain:
            for descriptor in batch.descriptors:
                blocks = found.get(descriptor.layer)
                if blocks is None:
                    continue
                where = f"{self.log.segments[batch.segment].where(batch.offset + descriptor.payload_offset)}: record {descriptor.extent_id}"
                payload = self.log.payload(batch, descriptor)
                if descriptor.type == REFERENCE and not descriptor.matches(payload):
                    raise Damage(f"{where}: checksum does not match")
                for block, stored in blocks_of(batch, descriptor, payload, where):
                    if block not in blocks or blocks[block].order < stored.order:
                        blocks[block] = stored
        return found

    def seen(self, layer):
        """Block to Stored as a disk or snapshot on this layer sees it; what is missing comes from the base image."""
        blocks = {}
        for each in reversed(list(self.catalog.line(layer))):
            blocks.update(self.records[each])
        return blocks

    def find(self, address):
        for name, size, layer, disk in self.catalog.named():
            if name == address:
                return size, layer, disk
        raise CannotRun(f"{address}: the store has no such disk or snapshot")

    def data_key(self, disk, attributes, passphrase):
        """None for a disk that is not encrypted."""
        if attributes.encryption == 1:
            return None
        if passphrase is None:
            raise CannotRun(f"{disk.name}: it is encrypted; give --passphrase-file")
        table = read_table(attributes.key_slots, f"disk {disk.name}")
        return open_table(table, passphrase, self.directory, self.remarks, f"disk {disk.name}")

    def content(self, address, passphrase=None, base=None):
        """Yields (offset, bytes) of all that may not be zero, ascending; the size comes from find."""
        size, layer, disk = self.find(address)
        attributes = read_attributes(disk.attributes, f"disk {disk.name}: attributes")
        data_key = self.data_key(disk, attributes, passphrase)
        blocks = {block: record for block, record in self.seen(layer).items() if block * BLOCK < size}
        image = _BaseImage(disk, attributes, base)
        decoded = _Decoder(self, address, data_key)
        for block in sorted(image.blocks(size) | blocks.keys()):
            data = decoded.block(block, blocks[block]) if block in blocks else image.read(block)
            if data is not None:
                yield block * BLOCK, data
        image.close()


class _Decoder:
    """Reads blocks through records, keeping the compressed extent that was decoded last."""

    def __init__(self, store, address, data_key):
        self.store, self.address, self.data_key = store, address, data_key
        self.extent_id, self.plain = 0, b""

    def block(self, block, stored):
        """The block's bytes; None for zeros."""
        if stored.zero:
            return None
        where = f"segment {stored.segment} offset {stored.offset}: extent {stored.extent_id}, block {block} of {self.address}"
        if not stored.compressed:
            return self._decode(stored, stored.index, 1, where)
        if stored.extent_id != self.extent_id:
            self.plain = self._decode(stored, 0, stored.blocks, where)
            self.extent_id = stored.extent_id
        return self.plain[stored.index * BLOCK:(stored.index + 1) * BLOCK]

    def _decode(self, stored, unit, blocks, where):
        data = self.store.log.stored(stored, where)
        if len(data) != stored.stored_bytes or crc(data) != stored.checksum:
            raise Damage(f"{where}: checksum does not match")
        return decode(stored.extent_id, stored.encoding, unit, blocks, data, self.data_key, self.store.superblock.salt, where)


class _BaseImage:
    """A disk's base image as raw bytes; without one, nothing."""

    def __init__(self, disk, attributes, path):
        self.file, self.length = None, 0
        if attributes.base_format == 0:
            return
        if attributes.base_format == 2 and path is None:
            raise CannotRun(f"{disk.name}: its base image {attributes.path} is qcow2; give the same as raw with --base")
        if attributes.base_format == 1 and os.path.exists(attributes.path):
            path = attributes.path
        path = path or attributes.path
        try:
            self.file = open(path, "rb")  # closed by close
        except OSError as error:
            raise CannotRun(f"{disk.name}: base image {path}: {error.strerror}") from None
        self.length = os.fstat(self.file.fileno()).st_size
        demand(self.length == attributes.base_bytes, path, "base_bytes",
               f"it has {self.length} bytes, {attributes.base_bytes} when disk {disk.name} was created")

    def blocks(self, size):
        return set(range((min(size, self.length) + BLOCK - 1) // BLOCK))

    def read(self, block):
        self.file.seek(block * BLOCK)
        return self.file.read(BLOCK).ljust(BLOCK, b"\0")

    def close(self):
        if self.file is not None:
            self.file.close()
