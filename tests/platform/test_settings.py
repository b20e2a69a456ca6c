"""Settings: TOML, then the environment, which wins; nothing is guessed."""

from pathlib import Path

import pytest

from guilder.platform.settings import BadSetting, Settings, load


def test_nothing_set_is_the_defaults() -> None:
    assert load({}) == Settings()


def test_the_environment_wins_over_the_file_and_the_caller_over_both(tmp_path: Path) -> None:
    (tmp_path / "guilder.toml").write_text('api_port = 1\nbatch_size = 2\nenvironments = ["test"]\n')
    environ = {"GUILDER_STATE": str(tmp_path), "GUILDER_BATCH_SIZE": "3", "GUILDER_POOL_SIZE": "4", "PATH": "/bin"}

    s = load(environ, pool_size=5)

    assert (s.api_port, s.batch_size, s.pool_size, s.environments) == (1, 3, 5, ("test",))
    assert s.state_path == tmp_path


def test_environments_are_a_list() -> None:
    assert load({"GUILDER_ENVIRONMENTS": "test,shadow"}).environments == ("test", "shadow")


def test_a_file_named_and_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="does not exist"):
        load({"GUILDER_CONFIG": str(tmp_path / "none.toml")})


@pytest.mark.parametrize("text", ["api_prot = 1", "api_port = 'x'", "api_port = ", "\udc80"])
def test_a_file_that_is_wrong_is_an_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "guilder.toml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(BadSetting, match=r"guilder\.toml"):
        load({"GUILDER_CONFIG": str(file)})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_PROT", "1"), ("API_PORT", "eighty"), ("API_PORT", ""), ("BATCH_SIZE", "0"), ("BATCH_LANES", "0"),
        ("POOL_SIZE", "-1"), ("BATCH_GATHER_MS", "-1"), ("PAYMENT_EXPIRY_S", "0"),
        ("LATE_SUCCESS", "acept"), ("API_WORKERS", "0"),
    ],
)  # fmt: skip
def test_a_name_nobody_knows_or_a_value_that_cannot_be_is_an_error(name: str, value: str) -> None:
    with pytest.raises(BadSetting):
        load({f"GUILDER_{name}": value})


def test_addresses_follow_host_and_port_unless_said_otherwise() -> None:
    s = Settings(host="10.0.0.1", api_port=1, cashier_port=2, simulators_port=3)
    assert (s.api_url, s.cashier_url, s.simulator_url) == (
        "http://10.0.0.1:1",
        "http://10.0.0.1:2",
        "http://10.0.0.1:3",
    )
    assert Settings(public_api_url="https://pay.example").api_url == "https://pay.example"
