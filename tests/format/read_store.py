#!/usr/bin/env python3
"""read_store.py STORE list
   read_store.py STORE export DISK[@SNAP] OUT [--passphrase-file FILE] [--base FILE]
   read_store.py STORE export-all FOLDER      [--passphrase-file FILE] [--base FILE]
   read_store.py STORE verify                 [--passphrase-file FILE]

Reads a CowScsi store that nobody has open, from its superblock and segments alone; written from docs/format.md, to show that the
document is enough. --base gives the base image as a raw file, where it is qcow2 or not at its path. A passphrase is the file's bytes
without one newline at the end. Exit codes: 0 done, 1 could not run, 2 the store is damaged.
"""

import argparse
import os
import sys

from cowstore import CannotRun, Damage
from cowstore.catalog import read_attributes
from cowstore.store import Store
from cowstore.verify import verify

_COMPRESSION, _ENCRYPTION, _BASE = ("", "none", "lz4"), ("", "none", "xts"), ("none", "raw", "qcow2")


def list_store(store):
    block = store.superblock
    print(f"store {block.name} {'clean' if block.clean and store.log.clean_behind else 'open'}, {len(store.log.chain)} batches in "
          f"{len(store.log.segments)} segments")
    for address, size, layer, disk in store.catalog.named():
        attributes = read_attributes(disk.attributes, f"disk {disk.name}: attributes")
        print(f"{address} {size} bytes, block {disk.logical_block_bytes}, layer {layer}, "
              f"compression {_COMPRESSION[attributes.compression]}, encryption {_ENCRYPTION[attributes.encryption]}, "
              f"base {_BASE[attributes.base_format]} {attributes.path}".rstrip())


def export(store, address, out, passphrase, base):
    size, _, _ = store.find(address)
    with open(out, "wb") as file:
        for offset, data in store.content(address, passphrase, base):
            if data.count(0) != len(data):
                file.seek(offset)
                file.write(data)
        file.truncate(size)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("store")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list")
    one, everything, check = verbs.add_parser("export"), verbs.add_parser("export-all"), verbs.add_parser("verify")
    one.add_argument("disk")
    one.add_argument("out")
    everything.add_argument("folder")
    for verb in (one, everything, check):
        verb.add_argument("--passphrase-file")
    for verb in (one, everything):
        verb.add_argument("--base")
    options = parser.parse_args()

    passphrase = None
    if getattr(options, "passphrase_file", None):
        with open(options.passphrase_file, "rb") as file:
            passphrase = file.read().removesuffix(b"\n")
    store = Store(options.store)
    if options.verb == "list":
        list_store(store)
    elif options.verb == "export":
        export(store, options.disk, options.out, passphrase, options.base)
    elif options.verb == "export-all":
        for address, _, _, _ in store.catalog.named():
            export(store, address, os.path.join(options.folder, f"{address}.raw"), passphrase, options.base)
    else:
        print(verify(store, passphrase))
    for remark in store.remarks:
        print(f"remark: {remark}", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except CannotRun as error:
        sys.exit(f"read_store.py: {error}")
    except OSError as error:
        sys.exit(f"read_store.py: {error}")
    except Damage as damage:
        print(f"read_store.py: damaged: {damage}", file=sys.stderr)
        sys.exit(2)
