"""Channels: assertions in the conformance suite are explained like those of a test."""

import pytest

pytest.register_assert_rewrite("conformance", "scripted")
