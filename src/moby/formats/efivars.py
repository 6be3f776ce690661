"""UEFI variables: their store in flash, as EDK II keeps it for virtual machines, and Secure Boot's keys in it.

Sources: UEFI Platform Initialization specification, volume 3, 3.2.1 (firmware volume header); EDK II's
``Include/Guid/VariableFormat.h`` (store and variable headers); UEFI specification 32.3 (PK, KEK, db) and 32.4.1
(EFI_SIGNATURE_LIST). Rules kept here:

- A store is made from the template that comes with the firmware, whose size and other contents stay as they are.
- Variables stand one behind the other, at multiples of four bytes; what is free is 0xff, as erased flash is.
- The keys are put in as if they had been enrolled: firmware trusts its flash, so nothing needs a signature here.
"""

from __future__ import annotations

import datetime
import struct
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from moby.errors import ConfigError, IntegrityError
from moby.formats import authenticode_keys

GLOBAL = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
IMAGE_SECURITY = uuid.UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f")
_SECURE_BOOT_ENABLE = uuid.UUID("f0a30bc7-af08-4556-99c4-001009c93a44")
_CUSTOM_MODE = uuid.UUID("c076ec0c-7028-4399-a072-71ee5c448b9f")
_CERT_X509 = uuid.UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")
_NV_DATA = uuid.UUID("fff12b8d-7696-4c8b-a985-2747075b4f50")
_AUTHENTICATED = uuid.UUID("aaf32c78-947b-439a-a180-2e144ec37792")

NON_VOLATILE, BOOT_SERVICE, RUNTIME, TIME_BASED = 0x01, 0x02, 0x04, 0x20
KEY_ATTRIBUTES = NON_VOLATILE | BOOT_SERVICE | RUNTIME | TIME_BASED
_SETTING_ATTRIBUTES = NON_VOLATILE | BOOT_SERVICE

# Zeros, file system, length, signature, attributes, header length, checksum, extensions, reserved, revision.
_VOLUME = struct.Struct("<16s16sQ4sIHHHBB")
_STORE = struct.Struct("<16sIBBHI")  # signature, size, format, state, reserved
# Start, state, reserved, attributes, count, time, key index, size of the name, of the data, vendor.
_VARIABLE = struct.Struct("<HBBIQ16sIII16s")
_TIME = struct.Struct("<HBBBBBBIhBB")
_START, _ADDED = 0x55AA, 0x3F
_IN_DELETED_TRANSITION = 0x3E  # replaced, but the new value was not yet whole: this one still counts
_FORMATTED, _HEALTHY = 0x5A, 0xFE
_MAX_STORE = 64 << 20
_FREE = b"\xff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A variable; ``time_s`` is when an authenticated one was last written, in seconds since 1970."""

    name: str
    vendor: uuid.UUID
    data: bytes
    attributes: int = _SETTING_ATTRIBUTES
    time_s: int | None = None


def read(store: bytes, *, where: str = "") -> tuple[Variable, ...]:
    """The variables in a store. Raises ``IntegrityError`` when it is none, or of a kind without authentication."""
    start, end = _bounds(store, where)
    return tuple(_variables(store, start, end, where))


def update(template: bytes, variables: Iterable[Variable], *, where: str = "") -> bytes:
    """A store of the size of ``template`` with its variables and these, which win over others of the same name.

    Raises ``ConfigError`` when they do not fit, ``IntegrityError`` as ``read``.
    """
    start, end = _bounds(template, where)
    held = {(each.vendor, each.name): each for each in _variables(template, start, end, where)}
    for variable in variables:
        held[(variable.vendor, variable.name)] = variable
    made = bytearray()
    for variable in held.values():
        made += _pack(variable)
        made += _FREE * (-len(made) % 4)
    if len(made) > end - start:
        raise ConfigError(f"variables of {len(made)} bytes do not fit {end - start}", where=where)
    return template[:start] + bytes(made).ljust(end - start, _FREE) + template[end:]


def secure_boot(
    *,
    platform_key: x509.Certificate,
    exchange_keys: Sequence[x509.Certificate],
    trusted: Sequence[x509.Certificate],
    owner: uuid.UUID,
    time_s: int,
) -> tuple[Variable, ...]:
    """PK, KEK, db and the switches: Secure Boot is on, for programs signed by one of ``trusted``."""

    def keys(name: str, vendor: uuid.UUID, certificates: Sequence[x509.Certificate]) -> Variable:
        data = signature_lists(certificates, owner)
        return Variable(name=name, vendor=vendor, data=data, attributes=KEY_ATTRIBUTES, time_s=time_s)

    return (
        keys("PK", GLOBAL, (platform_key,)),
        keys("KEK", GLOBAL, exchange_keys),
        keys("db", IMAGE_SECURITY, trusted),
        Variable(name="SecureBootEnable", vendor=_SECURE_BOOT_ENABLE, data=b"\x01"),
        Variable(name="CustomMode", vendor=_CUSTOM_MODE, data=b"\x00"),
    )


def signature_lists(certificates: Iterable[x509.Certificate], owner: uuid.UUID) -> bytes:
    """An EFI_SIGNATURE_LIST for each certificate, which differ in length."""
    made = bytearray()
    for certificate in certificates:
        data = certificate.public_bytes(serialization.Encoding.DER)
        size = 16 + len(data)
        made += _CERT_X509.bytes_le + struct.pack("<III", 28 + size, 0, size) + owner.bytes_le + data
    return bytes(made)


def certificates(lists: bytes) -> tuple[x509.Certificate, ...]:
    """The X.509 certificates in signature lists; hashes and others are passed over. Raises ``IntegrityError``."""
    found, at = [], 0
    while at + 28 <= len(lists):
        size, head, each = struct.unpack_from("<III", lists, at + 16)
        if size < 28 + head or at + size > len(lists) or each <= 16:
            raise IntegrityError(f"a signature list of {size} bytes where {len(lists) - at} are left")
        if lists[at : at + 16] == _CERT_X509.bytes_le:
            for place in range(at + 28 + head, at + size - each + 1, each):
                found.append(authenticode_keys.certificate(lists[place + 16 : place + each]))
        at += size
    if at != len(lists):
        raise IntegrityError(f"{len(lists) - at} bytes behind the signature lists")
    return tuple(found)


def _bounds(store: bytes, where: str) -> tuple[int, int]:
    """Where variables begin and end."""
    if len(store) < _VOLUME.size + _STORE.size or len(store) > _MAX_STORE:
        raise IntegrityError(f"a variable store of {len(store)} bytes is not believable", where=where)
    _, kind, length, signature, _, head, _, _, _, _ = _VOLUME.unpack_from(store)
    if kind != _NV_DATA.bytes_le or signature != b"_FVH" or length > len(store) or head + _STORE.size > length:
        fix = "give the firmware's own template, such as OVMF_VARS_4M.fd"
        raise IntegrityError("not a store of UEFI variables", where=where, fix=fix)
    words = struct.unpack_from(f"<{head // 2}H", store)
    if sum(words) & 0xFFFF:
        raise IntegrityError("the volume header does not match its checksum", where=where)
    identifier, size, form, state, _, _ = _STORE.unpack_from(store, head)
    if identifier != _AUTHENTICATED.bytes_le or (form, state) != (_FORMATTED, _HEALTHY):
        raise IntegrityError("the store does not keep authenticated variables", where=where)
    if not _STORE.size <= size <= length - head:
        raise IntegrityError(f"a store of {size} bytes in a volume of {length}", where=where)
    return head + _STORE.size, head + size


def _variables(store: bytes, at: int, end: int, where: str) -> Iterator[Variable]:
    """The variables that count."""
    while at + _VARIABLE.size <= end:
        start, state, _, attributes, _, time, _, name_size, data_size, vendor = _VARIABLE.unpack_from(store, at)
        if start != _START:
            return
        name_at = at + _VARIABLE.size
        data_at = name_at + name_size
        if data_at + data_size > end or name_size < 2 or name_size % 2:
            raise IntegrityError(f"a variable of {name_size} + {data_size} bytes is cut off", where=where)
        if state in (_ADDED, _IN_DELETED_TRANSITION):
            yield Variable(
                name=store[name_at : data_at - 2].decode("utf-16-le", "replace"),
                vendor=uuid.UUID(bytes_le=vendor),
                data=store[data_at : data_at + data_size],
                attributes=attributes,
                time_s=_seconds(time),
            )
        at = data_at + data_size
        at += -at % 4


def _pack(variable: Variable) -> bytes:
    name = variable.name.encode("utf-16-le") + b"\0\0"
    head = _VARIABLE.pack(
        _START,
        _ADDED,
        0,
        variable.attributes,
        0,
        _efi_time(variable.time_s),
        0,
        len(name),
        len(variable.data),
        variable.vendor.bytes_le,
    )
    return head + name + variable.data


def _efi_time(time_s: int | None) -> bytes:
    """EFI_TIME in UTC (UEFI 8.3); zeros for none."""
    if time_s is None:
        return bytes(_TIME.size)
    when = datetime.datetime.fromtimestamp(time_s, datetime.UTC)
    return _TIME.pack(when.year, when.month, when.day, when.hour, when.minute, when.second, 0, 0, 0, 0, 0)


def _seconds(data: bytes) -> int | None:
    year, month, day, hour, minute, second, _, _, _, _, _ = _TIME.unpack(data)
    try:
        return round(datetime.datetime(year, month, day, hour, minute, second, tzinfo=datetime.UTC).timestamp())
    except ValueError:
        return None
