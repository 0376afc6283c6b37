"""Signatures: made with a private key, checked with its public key, and refused for anything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mnedge.bundles._signature import SIGNATURE, check_key, check_signature, sign
from mnedge.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A private and a public key as openssl makes them."""
    pytest.importorskip("model_signing", reason="model-signing is not installed: pip install 'mnedge[sign]'")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
    made = ec.generate_private_key(ec.SECP256R1())
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private, public = tmp_path / "key.pem", tmp_path / "public.pem"
    private.write_bytes(made.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, plain))
    public.write_bytes(made.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to sign."""
    (tmp_path / "bundle" / "sub").mkdir(parents=True)
    (tmp_path / "bundle" / "a").write_text("1")
    (tmp_path / "bundle" / "sub" / "b").write_text("2")
    return tmp_path / "bundle"


def test_files_as_they_were_signed_are_the_owners(folder: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    check_key(private)
    sign(folder, private)
    assert (folder / SIGNATURE).is_file()
    check_signature(folder, public)
    (folder / "sub" / "b").write_text("3")
    with pytest.raises(InputError, match=r"is no signature of .* by the owner of"):
        check_signature(folder, public)


def test_a_folder_without_signature_and_one_behind_a_link_are_told(folder: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    with pytest.raises(InputError, match=r"has no model\.sig; bundle it with --sign KEY"):
        check_signature(folder, public)
    sign(folder, private)
    (folder / SIGNATURE).rename(folder.parent / "elsewhere")
    (folder / SIGNATURE).symlink_to(folder.parent / "elsewhere")
    with pytest.raises(InputError, match=r"has no model\.sig"):
        check_signature(folder, public)


def test_what_is_no_key_is_told_before_the_work(folder: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    with pytest.raises(InputError, match=r"is no private key to sign with: .*openssl"):
        check_key(public)
    with pytest.raises(InputError, match="is no file; give a private key as PEM"):
        check_key(folder / "absent.pem")
    sign(folder, private)
    with pytest.raises(InputError, match="is no public key"):
        check_signature(folder, folder / "a")
    with pytest.raises(InputError, match="is no file; give a public key as PEM"):
        check_signature(folder, folder / "absent.pem")
