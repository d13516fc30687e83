"""Keys of seals: Ed25519, in PEM files. Who has the private one can seal; the public one is for all."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MODE = 0o600
# No key is longer, and no other file needs to be read to its end.
SIZE_LIMIT = 65_536


class UnusableKey(Exception):
    """The file is no key of a seal, can't be read, or can't be written."""


def new_key(path: Path) -> str:
    """Make a private key in a new file that its owner alone may read; the public key as PEM text.

    Where it can't be written to its end, no file is left.
    """
    key = Ed25519PrivateKey.generate()
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        # Never over another file: what only the former key signed could not be repeated.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
    except FileExistsError:
        raise UnusableKey(f"{path} is there already; a key is never written over another file.") from None
    except OSError as error:
        raise UnusableKey(f"{path} can't be written: {error.strerror}.") from error
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, MODE)
            file.write(text)
            file.flush()
            os.fsync(handle)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise UnusableKey(f"{path} can't be written: {error.strerror}.") from error
    return public_text(key.public_key())


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """The key in this PEM file."""
    content = _read(path)
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except TypeError:
        raise UnusableKey(f"{path} is encrypted; seals are made without anybody to ask.") from None
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKey(f"{path} is no private key in PEM form.") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UnusableKey(f"{path} is a key of another kind; seals are signed with Ed25519.")
    return key


def load_public_key(path: Path) -> str:
    """The public key in this PEM file, or that of the private key in it, as seals write it."""
    content = _read(path)
    if b"PRIVATE KEY" in content:
        return as_hex(load_private_key(path).public_key())
    try:
        key = serialization.load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKey(f"{path} is no public key in PEM form.") from None
    if not isinstance(key, Ed25519PublicKey):
        raise UnusableKey(f"{path} is a key of another kind; seals are signed with Ed25519.")
    return as_hex(key)


def public_text(key: Ed25519PublicKey) -> str:
    """PEM, to be given to auditors."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode()


def as_hex(key: Ed25519PublicKey) -> str:
    return key.public_bytes_raw().hex()


def has_signed(key: str, signature: str, text: str) -> bool:
    """Whether the owner of this public key has signed the text; both in hexadecimal."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(signature), text.encode())
    except (InvalidSignature, ValueError):
        return False
    return True


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(SIZE_LIMIT)
    except OSError as error:
        raise UnusableKey(f"{path} can't be read: {error.strerror}.") from error
