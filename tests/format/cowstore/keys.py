"""Key slots and the two codings of an extent (docs/format.md, "Key slots", "Extent"), over libargon2, libcrypto and liblz4."""

import ctypes
import hmac
import struct
from ctypes import byref, c_int, c_size_t, c_uint32, c_void_p, create_string_buffer
from dataclasses import dataclass
from functools import lru_cache

from . import CannotRun, Damage
from .crc32c import crc
from .keyfile import DataKey, open_key_file
from .structures import BLOCK, CIPHER_XTS, CODEC_LZ4, demand

_GCM_SET_IVLEN, _GCM_SET_TAG = 9, 0x11  # EVP_CTRL_AEAD_..., <openssl/evp.h>


@lru_cache(maxsize=None)
def _library(name):
    try:
        library = ctypes.CDLL(name)
    except OSError as error:
        raise CannotRun(f"{name} cannot be loaded: {error}") from None
    if name.startswith("libcrypto"):
        for function in ("EVP_CIPHER_CTX_new", "EVP_aes_256_gcm", "EVP_aes_256_xts"):
            getattr(library, function).restype = c_void_p
    return library


@dataclass
class KeySlot:
    number: int
    passes: int
    memory_kib: int
    lanes: int
    salt: bytes
    nonce: bytes
    wrapped_key: bytes
    tag: bytes
    authenticated: bytes


@dataclass
class KeySlotTable:
    set_id: bytes
    key_check: bytes
    generation: int  # 0 in version 1, whose slots wrap the data key itself
    slots: list


def read_table(data, where):
    where = f"{where}: key slot table"
    demand(len(data) >= 48 and data[:8] == b"CSKEYSET", where, "T1", "not 48 bytes that begin with the magic")
    version, slot_count, stored_crc, set_id, key_check = struct.unpack_from("<HHI16s16s", data, 8)
    demand(version in (1, 2), where, "T2", f"version is {version}")
    header = 56 if version == 2 else 48
    demand(1 <= slot_count <= 8 and len(data) == header + 144 * slot_count, where, "T3", f"{slot_count} slots in {len(data)} bytes")
    demand(stored_crc == crc(data[16:], crc(data[:12] + bytes(4))), where, "T4", "checksum does not match")
    demand(any(set_id), where, "T5", "set_id is zero")
    slots = [_read_slot(data[at:at + 144], set_id, f"{where}: T6: slot at {at}") for at in range(header, len(data), 144)]
    demand(all(one.number < next_one.number for one, next_one in zip(slots, slots[1:])), where, "T7", "slot numbers do not ascend")
    generation = struct.unpack_from("<Q", data, 48)[0] if version == 2 else 0
    demand(version == 1 or generation != 0, where, "T8", "generation is 0")
    return KeySlotTable(set_id, key_check, generation, slots)


def _read_slot(data, set_id, where):
    number, kdf, wrap, zero, passes, memory_kib, lanes, salt, nonce, zeros, wrapped_key, tag = struct.unpack(
        "<BBBBIII32s12sI64s16s", data)
    demand(number != 0, where, "L1", "number is 0")
    demand(kdf == 1, where, "L2", f"kdf is {kdf}")
    demand(wrap == 1, where, "L3", f"wrap is {wrap}")
    demand(zero == 0 and zeros == 0, where, "L4", "reserved bytes are not 0")
    demand(1 <= passes <= 1000 and 1 <= lanes <= 64 and 8 * lanes <= memory_kib <= 4194304 and passes * memory_kib <= 67108864,
           where, "L5", f"passes {passes}, lanes {lanes}, memory_kib {memory_kib}")
    return KeySlot(number, passes, memory_kib, lanes, salt, nonce, wrapped_key, tag, data[:64] + set_id)


@lru_cache(maxsize=None)
def _key_encryption_key(passphrase, salt, passes, memory_kib, lanes):
    kek = create_string_buffer(32)
    result = _library("libargon2.so.1").argon2id_hash_raw(
        c_uint32(passes), c_uint32(memory_kib), c_uint32(lanes), passphrase, c_size_t(len(passphrase)), salt, c_size_t(len(salt)),
        kek, c_size_t(32))
    if result != 0:
        raise CannotRun(f"libargon2 answered {result}")
    return kek.raw


def open_table(table, passphrase, directory, remarks, where):
    """The data key, by the first slot that the passphrase opens: what it wraps, or what the key file has under that."""
    label = b"CowScsi disk key" if table.generation else b"CowScsi data key"
    for slot in table.slots:
        kek = _key_encryption_key(passphrase, slot.salt, slot.passes, slot.memory_kib, slot.lanes)
        key = _gcm_open(kek, slot.nonce, slot.authenticated, slot.wrapped_key, slot.tag)
        if key is None:
            continue
        proof = hmac.new(key, label + table.set_id, "sha256").digest()[:16]
        demand(hmac.compare_digest(proof, table.key_check), where, "key_check", "the slot holds a key of another set")
        return open_key_file(directory, table, key, _gcm_open, remarks) if table.generation else DataKey(key, 0)
    raise CannotRun(f"{where}: the passphrase opens none of its {len(table.slots)} key slots")


class _Context:
    def __init__(self, crypto):
        self.crypto = crypto

    def __enter__(self):
        self.handle = c_void_p(self.crypto.EVP_CIPHER_CTX_new())
        return self.handle

    def __exit__(self, *_):
        self.crypto.EVP_CIPHER_CTX_free(self.handle)


def _gcm_open(key, nonce, authenticated, ciphertext, tag):
    """The plaintext, or None where the tag does not match."""
    crypto = _library("libcrypto.so.3")
    plaintext, length = create_string_buffer(len(ciphertext)), c_int()
    with _Context(crypto) as context:
        done = (crypto.EVP_DecryptInit_ex(context, c_void_p(crypto.EVP_aes_256_gcm()), None, None, None) == 1
                and crypto.EVP_CIPHER_CTX_ctrl(context, _GCM_SET_IVLEN, len(nonce), None) == 1
                and crypto.EVP_DecryptInit_ex(context, None, None, key, nonce) == 1
                and crypto.EVP_DecryptUpdate(context, None, byref(length), authenticated, len(authenticated)) == 1
                and crypto.EVP_DecryptUpdate(context, plaintext, byref(length), ciphertext, len(ciphertext)) == 1
                and crypto.EVP_CIPHER_CTX_ctrl(context, _GCM_SET_TAG, len(tag), create_string_buffer(tag, len(tag))) == 1)
        if not done:
            raise CannotRun("libcrypto refuses AES-256-GCM")
        matches = crypto.EVP_DecryptFinal_ex(context, create_string_buffer(16), byref(length)) == 1
    return plaintext.raw if matches else None


def xts_decrypt(data_key, tweak, ciphertext):
    """One data unit; libcrypto steals ciphertext where the length is not a multiple of 16."""
    crypto = _library("libcrypto.so.3")
    plaintext, length = create_string_buffer(len(ciphertext)), c_int()
    with _Context(crypto) as context:
        if (crypto.EVP_DecryptInit_ex(context, c_void_p(crypto.EVP_aes_256_xts()), None, data_key, tweak) != 1
                or crypto.EVP_DecryptUpdate(context, plaintext, byref(length), ciphertext, len(ciphertext)) != 1):
            raise CannotRun("libcrypto refuses AES-256-XTS")
    return plaintext.raw


def lz4_decode(block, size, where):
    plain = create_string_buffer(size)
    result = _library("liblz4.so.1").LZ4_decompress_safe(bytes(block), plain, len(block), size)
    if result != size:
        raise Damage(f"{where}: the LZ4 block decodes to {result} bytes instead of {size}")
    return plain.raw


def decode_extent(descriptor, stored, data_key, salt, where):
    """The blocks of an extent as its disk's guest wrote them. The checksums of `stored` have been looked at."""
    return decode(descriptor.extent_id, descriptor.encoding, 0, descriptor.blocks, stored, data_key, salt, where)


def decode(extent_id, encoding, unit, blocks, stored, data_key, salt, where):
    """The same for raw blocks from `unit` of an extent on, or for a compressed extent of so many blocks, whose only unit is 0."""
    compressed = encoding & CODEC_LZ4
    if encoding & CIPHER_XTS:
        demand(data_key is not None, where, "encoding", "it is encrypted, its disk is not")
        demand(extent_id >= data_key.first_extent, where, "first_extent", "it was stored under a data key that is destroyed")
        unit_bytes = len(stored) if compressed else BLOCK
        stored = b"".join(
            xts_decrypt(data_key.key, struct.pack("<QB7s", extent_id, unit + at // unit_bytes, salt), stored[at:at + unit_bytes])
            for at in range(0, len(stored), unit_bytes))
    return lz4_decode(stored, blocks * BLOCK, where) if compressed else stored
