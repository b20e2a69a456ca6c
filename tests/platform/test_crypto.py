"""Secrets at rest: what was changed, moved or cut does not open; the key file is made once, whole, and for us alone."""

import base64
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guilder.platform.crypto import Keyring, Tampered

RING = Keyring(b"k" * 32)
SEALED = RING.seal(b"apiv3 key", "channel_account/1")


def test_what_was_sealed_opens_and_looks_different_each_time() -> None:
    assert RING.open(SEALED, "channel_account/1") == b"apiv3 key"
    assert RING.seal(b"apiv3 key", "channel_account/1") != SEALED
    assert b"apiv3" not in SEALED


@given(st.binary(max_size=200), st.text(max_size=20))
def test_anything_can_be_sealed(secret: bytes, about: str) -> None:
    assert RING.open(RING.seal(secret, about), about) == secret


def test_moved_to_another_row_it_does_not_open() -> None:
    with pytest.raises(Tampered):
        RING.open(SEALED, "channel_account/2")


def test_under_another_key_it_does_not_open() -> None:
    with pytest.raises(Tampered, match="another encryption key"):
        Keyring(b"x" * 32).open(SEALED, "channel_account/1")


@pytest.mark.parametrize("at", range(len(SEALED)))
def test_one_bit_changed_anywhere_it_does_not_open(at: int) -> None:
    changed = bytearray(SEALED)
    changed[at] ^= 1
    with pytest.raises(Tampered):
        RING.open(bytes(changed), "channel_account/1")


@pytest.mark.parametrize("length", range(len(SEALED)))
def test_cut_anywhere_it_does_not_open(length: int) -> None:
    with pytest.raises(Tampered):
        RING.open(SEALED[:length], "channel_account/1")


def test_half_of_one_and_half_of_another_do_not_open() -> None:
    other = RING.seal(b"apiv3 key", "channel_account/1")
    with pytest.raises(Tampered):
        RING.open(SEALED[:65] + other[65:], "channel_account/1")


def test_the_key_is_of_the_right_size() -> None:
    for bad in (b"", b"short", b"x" * 33):
        with pytest.raises(ValueError, match="32 bytes"):
            Keyring(bad)


def test_the_setting_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    value = base64.b64encode(b"k" * 32).decode()

    assert Keyring.load(value, file).open(SEALED, "channel_account/1") == b"apiv3 key"
    assert not file.exists()


def test_the_key_file_is_made_once_and_for_us_alone(tmp_path: Path) -> None:
    file = tmp_path / "encryption.key"
    with ThreadPoolExecutor(16) as many:
        rings = list(many.map(lambda _: Keyring.load(None, file), range(32)))

    sealed = rings[0].seal(b"s", "a")
    assert [r.open(sealed, "a") for r in rings] == [b"s"] * 32, "whoever came second has the first one's key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_links_are_repeatable_unguessable_and_their_own() -> None:
    assert RING.link("pi_1") == RING.link("pi_1")
    assert RING.link("pi_1") != RING.link("pi_2")
    assert RING.link("pi_1") != Keyring(b"x" * 32).link("pi_1")
    assert RING.is_link("pi_1", RING.link("pi_1"))
    for wrong in ("", RING.link("pi_2"), RING.link("pi_1")[:-1], "\udc80", "é" * 24):
        assert not RING.is_link("pi_1", wrong)
