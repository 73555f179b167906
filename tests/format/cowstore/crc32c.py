"""CRC-32C as docs/format.md has it: reflected polynomial 82F63B78h, initial value and final inversion FFFFFFFFh.

Eight bytes a step, through a table for each place: about twice what a byte a step gives in Python, some 20 MB a second.
"""

import struct

_POLYNOMIAL = 0x82F63B78


def _tables():
    first = []
    for byte in range(256):
        register = byte
        for _ in range(8):
            register = (register >> 1) ^ (_POLYNOMIAL if register & 1 else 0)
        first.append(register)
    tables = [first]
    while len(tables) < 8:
        tables.append([first[register & 0xFF] ^ (register >> 8) for register in tables[-1]])
    return tables


_TABLES = _tables()


def crc(data, previous=0):
    """crc(b, crc(a)) is crc(a followed by b)."""
    t0, t1, t2, t3, t4, t5, t6, t7 = _TABLES
    register = previous ^ 0xFFFFFFFF
    words = len(data) // 8
    for word in struct.unpack_from("<%dQ" % words, data):
        a, b, c, d, e, f, g, h = (word ^ register).to_bytes(8, "little")
        register = t7[a] ^ t6[b] ^ t5[c] ^ t4[d] ^ t3[e] ^ t2[f] ^ t1[g] ^ t0[h]
    for byte in data[words * 8:]:
        register = (register >> 8) ^ t0[(register ^ byte) & 0xFF]
    return register ^ 0xFFFFFFFF


assert crc(b"123456789") == 0xE3069283
assert crc(b"6789", crc(b"12345")) == 0xE3069283
