"""Everything that can be held against a store: all payloads, all key slots, and what the checkpoint says against what the log says."""

import os
from collections import Counter
from dataclasses import replace

from . import CannotRun, Damage
from .catalog import Catalog, read_attributes, read_record
from .crc32c import crc
from .keyfile import read_key_file
from .keys import decode_extent, read_table
from .references import blocks_of, read_runs
from .structures import CATALOG_IMAGE, EXTENT, PAGE_BLOCKS, REFERENCE, demand


def verify(store, passphrase):
    """Returns a line that sums up; raises Damage at the first thing that is wrong."""
    store.log.check_order()
    keys = _keys(store, passphrase)
    records = blocks = decoded = 0
    extents = {}
    for batch in store.log.chain:
        for descriptor in batch.descriptors:
            records += 1
            payload = store.log.payload(batch, descriptor)
            where = f"{store.log.segments[batch.segment].where(batch.offset + descriptor.payload_offset)}: extent {descriptor.extent_id}"
            if not descriptor.matches(payload):
                raise Damage(f"{where}: checksum does not match")
            if descriptor.type == REFERENCE:
                _references(batch, descriptor, payload, extents, where)
            if descriptor.type == EXTENT:
                extents[descriptor.extent_id] = [stored for _, stored in blocks_of(batch, descriptor, payload, where)]
                blocks += descriptor.blocks
                key = keys.get(descriptor.layer)
                if not descriptor.encrypted or key is not None and descriptor.extent_id >= key.first_extent:
                    decode_extent(descriptor, payload, key, store.superblock.salt, where)
                    decoded += descriptor.blocks
    text = f"{len(store.log.chain)} batches, {records} records, {blocks} blocks of which {decoded} were decoded"
    if store.log.chain and store.log.chain[0].sequence != 1 or store.log.gaps:
        text += f"; from batch {store.log.chain[0].sequence} on, {len(store.log.gaps)} gaps where segments were removed"
    return f"{text}; {_checkpoint(store)}"


def _references(batch, descriptor, payload, extents, where):
    """What a reference says of an extent is what the extent's own record says, where that is still there."""
    for _, run in read_runs(batch, descriptor, payload, where):
        for stored in run:
            if stored.zero or stored.extent_id not in extents:
                continue
            own = extents[stored.extent_id]
            demand(stored.index < len(own) and replace(own[stored.index], order=stored.order, record_segment=stored.record_segment) == stored, where,
                   "reference", f"block {stored.index} of extent {stored.extent_id} is not as its record says")


def _keys(store, passphrase):
    """Layer to data key, of the layers that an encrypted disk or snapshot sees, where the passphrase opens it. Looks at all attributes."""
    keys = {}
    for address, _, layer, disk in store.catalog.named():
        attributes = read_attributes(disk.attributes, f"disk {disk.name}: attributes")
        if attributes.encryption == 1:
            continue
        table = read_table(attributes.key_slots, f"disk {disk.name}")
        if passphrase is None and table.generation:
            read_key_file(store.directory, table.set_id, store.remarks)
        if passphrase is not None and layer not in keys:
            key = store.data_key(disk, attributes, passphrase)
            keys.update(dict.fromkeys(store.catalog.line(layer), key))
    return keys


def _checkpoint(store):
    checkpoint = store.checkpoint
    if checkpoint is None:
        return "no checkpoint"
    name = f"checkpoint-{store.superblock.checkpoint_number}"
    if (checkpoint.next_sequence, checkpoint.end) != (store.log.missing_sequence, store.log.end):
        return f"the log goes on behind {name}"

    image = Catalog()
    for part in checkpoint.catalog_parts:
        image.apply(CATALOG_IMAGE, read_record(part, f"{name}: catalog"), 1)
    for what in ("layers", "disks", "snapshots", "settings"):
        mine, theirs = getattr(store.catalog.rows, what), getattr(image.rows, what)
        demand(mine == theirs, name, "catalog", f"its {what} are not the log's")
    demand(checkpoint.image_segment == store.catalog.image_segment, name, "image_segment",
           f"it is {checkpoint.image_segment}, the newest image begins in {store.catalog.image_segment}")
    _map_figures(store, checkpoint, name)
    _index(store, checkpoint)
    _record_log(store, checkpoint)
    return f"{name} agrees with the log"


def _map_figures(store, checkpoint, name):
    """Which layer has which page, and how many map entries point into each segment.

    A hidden layer may have lost pages that no named layer sees. A layer that was deleted keeps its state until its pages are dropped;
    what its pages hold is not followed up, so while there is one, a segment may have more entries than are counted here.
    """
    named = {layer for _, _, layer, _ in store.catalog.named()}
    pages = {layer: {block // PAGE_BLOCKS for block in blocks} for layer, blocks in store.records.items()}
    for layer in named:
        _, _, has = checkpoint.layers.get(layer, (0, 0, set()))
        demand(has == pages[layer], name, "pages", f"layer {layer} has {len(has)} map pages, its records touch {len(pages[layer])}")
    entries = Counter()
    referring = set()
    for layer in store.catalog.rows.layers:
        _, _, has = checkpoint.layers.get(layer, (0, 0, set()))
        if not has:
            continue
        for block, stored in store.seen(layer).items():
            if block // PAGE_BLOCKS in has:
                entries[stored.segment] += 1
                if stored.segment != stored.record_segment:
                    referring.add(stored.record_segment)
    for number in referring:
        demand(number in checkpoint.segments and checkpoint.segments[number][2] & 1, name, "segments", f"segment {number} has references and is not flagged")
    deleted = checkpoint.layers.keys() - store.catalog.rows.layers.keys()
    for number, (segment_bytes, end, flags, count) in checkpoint.segments.items():
        demand(count == entries[number] or (deleted and count > entries[number]), name, "segments", f"segment {number} has {count} entries, the log has {entries[number]}")
        segment = store.log.segments.get(number)
        demand(segment is not None and segment.segment_bytes == segment_bytes and end <= len(segment.data), name, "segments",
               f"segment {number} is not as it says")


def _index(store, checkpoint):
    name = os.path.join(store.directory, "map", checkpoint.index_name)
    data = _read(name)
    demand(len(data) == checkpoint.index_bytes and crc(data) == checkpoint.index_crc, name, "index", "length or checksum")


def _record_log(store, checkpoint):
    """The sums of the record log's full chunks, and what the checkpoint keeps of the last one."""
    full = checkpoint.log_tail // 4096
    stem = os.path.join(store.directory, "map", checkpoint.log_name)
    name = os.path.splitext(stem)[0] + ".crc"
    sums = _read(name)[:4 * full]
    demand(len(sums) == 4 * full and crc(sums) == checkpoint.sums_crc, name, "sums_crc", "length or checksum")
    for chunk in range(full):
        number, offset = divmod(chunk * 4096, 1 << 30)
        data = _read(f"{stem}.{number}", offset, 4096)
        demand(crc(data) == int.from_bytes(sums[4 * chunk:4 * chunk + 4], "little"), f"{stem}.{number}", "chunk", f"offset {offset}: checksum")
    demand(len(checkpoint.last_chunk) == checkpoint.log_tail % 4096, stem, "last chunk", f"{len(checkpoint.last_chunk)} bytes")


def _read(path, offset=0, size=-1):
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(size)
    except OSError as error:
        raise CannotRun(f"{path}: {error.strerror}") from None
