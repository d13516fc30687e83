"""Keys of seals: Ed25519, in PEM files. The private key signs seals, the public one verifies them."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MODE = 0o600
# No key is longer, and no other file need be read whole.
SIZE_LIMIT = 65_536


class UnusableKey(Exception):
    """The file is not a key for seals, can't be read, or can't be written."""


def new_key(path: Path) -> str:
    """Make a private key in a new file that only its owner may read; return the public key as PEM text.

    If it can't be written completely, no file is left.
    """
    key = Ed25519PrivateKey.generate()
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        # Never overwrite a key: what it has signed could not be signed again.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
    except FileExistsError:
        raise UnusableKey(f"{path} exists; a key never overwrites another file.") from None
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
    """Read the private key in this PEM file; UnusableKey if it has none for seals."""
    content = _read(path)
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except TypeError:
        raise UnusableKey(
            f"{path} is encrypted; seals are made without anybody to type a password."
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKey(f"{path} is not a private key in PEM format.") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UnusableKey(f"{path} is a key of another kind; seals are signed with Ed25519.")
    return key


def load_public_key(path: Path) -> str:
    """Return the public key in this PEM file, or that of its private key, in hexadecimal as in seals."""
    content = _read(path)
    if b"PRIVATE KEY" in content:
        return as_hex(load_private_key(path).public_key())
    try:
        key = serialization.load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKey(f"{path} is not a public key in PEM format.") from None
    if not isinstance(key, Ed25519PublicKey):
        raise UnusableKey(f"{path} is a key of another kind; seals are signed with Ed25519.")
    return as_hex(key)


def public_text(key: Ed25519PublicKey) -> str:
    """Format a public key as PEM, for auditors."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode()


def as_hex(key: Ed25519PublicKey) -> str:
    return key.public_bytes_raw().hex()


def has_signed(key: str, signature: str, text: str) -> bool:
    """Whether the signature of the text is by this public key; both in hexadecimal."""
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
