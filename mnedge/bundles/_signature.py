"""Signatures of bundles, as OpenSSF Model Signing writes them: a Sigstore bundle over the digest of every file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.errors import InputError, ToolError
from mnedge.foreign import is_file

if TYPE_CHECKING:
    from pathlib import Path

SIGNATURE = "model.sig"
_GET = "pip install 'mnedge[sign]'"
_MAKE = (
    "openssl ecparam -name prime256v1 -genkey -noout -out key.pem, and openssl ec -in key.pem -pubout -out public.pem"
)


def check_key(key: Path) -> None:
    """Makes sure, before long work, that a bundle can be signed with a key.

    Args:
        key: Private key, PEM of an elliptic curve (P-256, P-384 or P-521), not encrypted.

    Raises:
        InputError: It is no such key.
        ToolError: model-signing is not installed.
    """
    _known_file(key, "private key")
    try:
        from model_signing import signing

        signing.Config().use_elliptic_key_signer(private_key=key)
    except ImportError as exc:
        raise ToolError(f"signing needs model-signing ({exc}); {_GET}") from exc
    except Exception as exc:
        raise InputError(f"{key} is no private key to sign with: {exc}; make a pair with {_MAKE}") from exc


def sign(folder: Path, key: Path) -> None:
    """Signs all files of a folder and writes model.sig into it.

    Args:
        folder: The whole bundle.
        key: As `check_key` takes it.

    Raises:
        InputError: The key is none.
        ToolError: model-signing is not installed.
    """
    check_key(key)
    from model_signing import signing

    signing.Config().use_elliptic_key_signer(private_key=key).sign(folder, folder / SIGNATURE)


def check_signature(folder: Path, key: Path) -> None:
    """Checks that model.sig of a folder was made by the owner of a key over the files as they are.

    Args:
        folder: The bundle, whose files all stand in its manifest.
        key: Public key, PEM of an elliptic curve.

    Raises:
        InputError: There is no signature, it is another's, or a file was changed since.
        ToolError: model-signing is not installed.
    """
    _known_file(key, "public key")
    place = folder / SIGNATURE
    if place.is_symlink() or not is_file(place):
        raise InputError(f"{folder} has no {SIGNATURE}; bundle it with --sign KEY")
    try:
        from model_signing import verifying

        config = verifying.Config().use_elliptic_key_verifier(public_key=key)
    except ImportError as exc:
        raise ToolError(f"checking a signature needs model-signing ({exc}); {_GET}") from exc
    except Exception as exc:
        raise InputError(f"{key} is no public key: {exc}; make a pair with {_MAKE}") from exc
    try:
        # The record that marks the folder as mnedge's is written after the signature; nothing else may be unsigned,
        # which the manifest, itself signed, shows.
        config.set_ignore_unsigned_files(True).verify(folder, place)
    except Exception as exc:
        raise InputError(
            f"{place} is no signature of {folder} by the owner of {key}: {exc}; get the bundle from its maker again"
        ) from exc


def _known_file(path: Path, what: str) -> None:
    if not is_file(path):
        raise InputError(f"{path} is no file; give a {what} as PEM, made with {_MAKE}")
