"""N4: no webhook leads inside, however its URL is written and whatever name servers say."""

import asyncio
import ipaddress
import ssl
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from guilder.core import clock
from guilder.core.errors import Invalid
from guilder.notify.send import Sender
from guilder.platform import embedded, guard
from guilder.platform.guard import Refused, check_host, check_url, is_allowed, is_public

from .conftest import QUICK, Book, connect, courier

pytestmark = pytest.mark.anyio

INSIDE_URLS = [
    "http://shop.example.com/",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://017700000001/",
    "https://127.000.000.001/",
    "https://127.0.0.1./",
    "https://0/",
    "https://0.0.0.0/",
    "https://10.0.0.1/",
    "https://10.1/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.168.1.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://169.254.170.2/",
    "https://100.100.100.200/latest/meta-data/",
    "https://100.64.0.1/",
    "https://192.0.0.192/",
    "https://168.63.129.16/",
    "https://198.18.0.1/",
    "https://192.0.2.1/",
    "https://198.51.100.7/",
    "https://203.0.113.9/",
    "https://192.88.99.1/",
    "https://224.0.0.1/",
    "https://239.255.255.250/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://[::1]/",
    "https://[::]/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[::ffff:169.254.169.254]/",
    "https://[::ffff:8.8.8.8]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[64:ff9b:1::1]/",
    "https://[2002:7f00:1::]/",
    "https://[2002:a9fe:a9fe::]/",
    "https://[2001::1]/",
    "https://[2001:db8::1]/",
    "https://[fc00::1]/",
    "https://[fd00:ec2::254]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    "https://[::1",
    "https://localhost/",
    "https://LOCALHOST/",
    "https://localhost./",
    "https://shop.localhost/",
    "https://shop.local/",
    "https://metadata.google.internal/",
    "https://kubernetes.default.svc.cluster.local/",
    "https://intranet/",
    "https://shop/",
    "https://user@shop.example.com/",
    "https://user:pass@shop.example.com/",
    "https://shop.example.com@127.0.0.1/",
    "https://shop.example.com%40127.0.0.1/",
    "https://shop.example.com:443@127.0.0.1/",
    "https://127.0.0.1#@shop.example.com/",
    "https://shop.example.com/#x",
    "https://shop.example.com\\@127.0.0.1/",
    "https://127.0.0.1\\.shop.example.com/",
    "https:\\\\127.0.0.1/",
    "https:///127.0.0.1/",
    "https:127.0.0.1",
    "https://shop.example.com:22/",
    "https://shop.example.com:80/",
    "https://shop.example.com:5432/",
    "https://shop.example.com:0/",
    "https://shop.example.com:65536/",
    "https://shop.example.com:-1/",
    "https://shop.example.com:/",
    "https://shop.example.com:443:443/",
    "https://127。0。0。1/",
    "https://①②⑦.⓪.⓪.①/",
    "https://１２７.0.0.1/",
    "https://lоcalhost/",
    "https://münchen.example/",
    "https://shop..example.com/",
    "https://.example.com/",
    "https://-shop.example.com/",
    "https://shop_1.example.com/",
    "https://%31%32%37.0.0.1/",
    "https://shop.example.com%00.evil.com/",
    "https://shop.example.0x1/",
    "https://shop.example.123/",
    "https://",
    "https://?x",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_INFO",
    "ftp://shop.example.com/",
    "dict://127.0.0.1:11211/",
    "data:text/plain,hello",
    "javascript:alert(1)",
    "//shop.example.com/",
    "shop.example.com/hook",
    "/hook",
]
INSIDE_URLS += [
    "",
    " ",
    "https://shop.example.com/a b",
    " https://shop.example.com/",
    "https://shop.example.com/\r\nHost: x",
]
INSIDE_URLS += [
    "https://shop.example.com/\n",
    "https://shop.example.com/\x00",
    "https://shop.example.com/" + "a" * 2000,
]

OUTSIDE_URLS = [
    "https://shop.example.com",
    "https://shop.example.com/",
    "https://shop.example.com/hook?a=1&b=%20",
    "https://SHOP.example.com:443/Hook",
    "https://shop.example.com:8443/a/b",
    "https://xn--mnchen-3ya.example/hook",
    "https://8.8.8.8/",
    "https://[2606:4700:4700::1111]/",
    "https://127.0.0.1.nip.io/",
    "https://a.b.c.d.e.example.co.uk/x@y",
    "https://shop.example.com?x=1",
]  # nip.io: the text is fine, what it resolves to is not


@pytest.mark.parametrize("url", INSIDE_URLS)
def test_WO06_a_url_that_leads_inside_or_can_be_read_in_two_ways_is_refused(url: str):
    with pytest.raises(Refused):
        check_url(url, loopback=False)


@pytest.mark.parametrize("url", OUTSIDE_URLS)
def test_a_plain_url_passes(url: str):
    target = check_url(url, loopback=False)
    assert target.url.raw_host == target.host
    assert target.port in guard.PORTS


def test_the_corpus_is_large_enough():
    assert len(set(INSIDE_URLS)) >= 100


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:4242/hook", "http://[::1]:8000/", "http://localhost:3000/", "http://shop.example.com/"]
)
def test_loopback_is_for_the_test_environment(url: str):
    check_url(url, loopback=True)
    with pytest.raises(Refused):
        check_url(url, loopback=False)


@pytest.mark.parametrize(
    "url",
    ["http://10.0.0.1/", "http://169.254.169.254/", "http://0.0.0.0:80/", "http://[::ffff:127.0.0.1]/", "http://user@127.0.0.1/",
     "http://127.1/", "http://2130706433/", "http://[fd00::1]/", "http://metadata.google.internal/"],
)  # fmt: skip
def test_the_test_environment_allows_nothing_else_inside(url: str):
    with pytest.raises(Refused):
        check_url(url, loopback=True)


def test_what_is_public():
    """Every special-purpose network of IANA's registries, by its first and last address."""
    inside = [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "255.255.255.255/32",
        "::/128",
        "::1/128",
        "::ffff:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    ]
    for text in inside:
        network = ipaddress.ip_network(text)
        assert not is_public(network[0]), text
        assert not is_public(network[-1]), text
    for text in (
        "1.1.1.1",
        "8.8.8.8",
        "101.132.0.1",
        "172.15.255.255",
        "172.32.0.1",
        "2606:4700::1",
        "2400:3200::1",
        "2a00:1450::8",
    ):
        assert is_public(ipaddress.ip_address(text)), text
    assert not is_allowed("fe80::1%eth0", loopback=True)
    assert not is_allowed("shop.example.com", loopback=True)


async def test_WO06_a_name_with_any_address_inside_is_refused_when_it_is_saved():
    target = check_url("https://127.0.0.1.nip.io/", loopback=False)
    for answer in (["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::ffff:10.0.0.1"], ["64:ff9b::a00:1"]):
        with pytest.raises(Invalid) as refused:
            await check_host(target, answering(answer))
        assert (refused.value.code, refused.value.param) == ("url_invalid", "url")
    await check_host(target, answering(["8.8.8.8"]))


async def test_a_name_that_nobody_knows_yet_may_be_saved():
    async def unknown(_host: str, _port: int) -> list[str]:
        raise OSError("no such name")

    await check_host(check_url("https://shop.example.com/", loopback=False), unknown)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://shop.example.com/",
        "https://[::1]/",
        "https://169.254.169.254/",
        "http://127.0.0.1:1/",
        "file:///x",
    ],
)
async def test_WO06_it_is_refused_when_it_is_sent_as_well(url: str):
    async with Sender(loopback=False, timeout_s=5, look_up=answering(["8.8.8.8", "127.0.0.1"])) as sender:
        reply = await sender.send(url, {}, b"{}")
    assert reply.status is None
    assert (reply.error or "").startswith("refused: ")


async def test_WO07_what_was_checked_is_what_is_connected_to(open_shop):
    """The name server says this machine's address, once; whatever it says afterwards is not asked for that connection."""
    asked = []

    async def turning(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    shop = await open_shop()
    url = shop.url.replace("127.0.0.1", "shop.example.com")
    async with Sender(loopback=True, timeout_s=5, look_up=turning) as sender:
        reply = await sender.send(url, {}, b"{}")
    assert reply.status == 200
    assert len(asked) == 1
    assert shop.heard[0].headers["Host"].startswith("shop.example.com")


async def test_WO07_a_name_that_turns_inside_is_refused_at_the_next_connection(open_shop):
    answers = [["8.8.8.8"], ["127.0.0.1"], ["127.0.0.1"]]

    async def turning(_host: str, _port: int) -> list[str]:
        return answers.pop(0)

    shop = await open_shop()
    target = check_url("https://shop.example.com:8443/", loopback=False)
    await check_host(target, turning)  # saved while it was outside
    async with Sender(loopback=False, timeout_s=5, look_up=turning) as sender:
        reply = await sender.send(str(target.url), {}, b"{}")
    assert reply.error == "refused: shop.example.com is not on the public internet."
    assert shop.bodies == []


async def test_WO07_the_socket_itself_refuses(monkeypatch: pytest.MonkeyPatch, open_shop):
    """Even if the names' fence were gone, no socket is made for an address inside."""

    class Open(guard._Names):
        async def resolve(self, host, port=0, family=0):
            self._loopback = True
            return await super().resolve(host, port, family)

    monkeypatch.setattr(guard, "_Names", Open)
    shop = await open_shop()
    async with Sender(loopback=False, timeout_s=5, look_up=answering(["127.0.0.1"])) as sender:
        reply = await sender.send("https://shop.example.com/", {}, b"{}")
    assert reply.error == "refused: 127.0.0.1 is no public address."
    assert shop.bodies == []


async def test_live_never_sends_to_this_machine(database: embedded.Server, open_shop):
    shop = await open_shop()
    async with connect(database, "live") as env:
        book = Book(env)
        await book.endpoint(shop.url)
        await book.happens("charge.succeeded")
        async with courier(env, QUICK):
            async with asyncio.timeout(10):
                while (await book.page())[0][2] is None:
                    await asyncio.sleep(0.02)
    assert shop.bodies == []


async def test_no_proxy_of_the_surroundings_is_used(monkeypatch: pytest.MonkeyPatch, open_shop):
    shop, proxy = await open_shop(), await open_shop()
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    async with Sender(loopback=True, timeout_s=5) as sender:
        assert (await sender.send(shop.url, {}, b"{}")).status == 200
    assert (len(shop.bodies), len(proxy.bodies)) == (1, 0)


async def test_a_certificate_that_nobody_vouches_for_is_no_connection(tmp_path: Path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, clock.now(), clock.now() + timedelta(days=1))
    certificate = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False).sign(
        key, hashes.SHA256()
    )
    pem = tmp_path / "pem"
    pem.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(Encoding.PEM)
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    async with await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0, ssl=tls) as server:
        port = server.sockets[0].getsockname()[1]
        async with Sender(loopback=True, timeout_s=5) as sender:
            reply = await sender.send(f"https://localhost:{port}/", {}, b"{}")
    assert reply.status is None
    assert "certificate" in (reply.error or "").lower()


def answering(addresses: list[str]) -> guard.LookUp:
    async def look_up(_host: str, _port: int) -> list[str]:
        return addresses

    return look_up
