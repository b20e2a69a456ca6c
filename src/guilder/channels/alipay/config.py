"""What one Alipay app needs to be spoken for."""

from typing import Annotated, Literal

from guilder.channels.config import ChannelConfig, hint, http_address

OAUTH = "https://openauth.alipay.com/oauth2/publicAppAuthorize.htm"


class AlipayConfig(ChannelConfig, frozen=True, kw_only=True):
    """One app that asks for one seller.  `mode` says by what both sides know each other's signatures: by keys, or by
    certificates (which transfers need).  With `app_auth_token` the app is a partner's and asks for the seller who granted it."""

    gateway: Annotated[str, hint("https://openapi.alipay.com/gateway.do, or a simulator")]
    app_id: Annotated[str, hint("the app, 16 digits")]
    seller_id: Annotated[
        str, hint("the seller's Alipay number: 2088...; with app_auth_token the merchant's, not the partner's")
    ]
    private_key: Annotated[str, hint("the app's private key, PEM or base64", secret=True)]
    mode: Annotated[Literal["key", "certificate"], hint("how signatures are verified")] = "key"
    alipay_public_key: Annotated[
        str,
        hint(
            "Alipay's public key for this app, PEM or base64; several, with commas between, while one replaces another"
        ),
    ] = ""
    app_cert: Annotated[str, hint("appCertPublicKey_....crt: the app's certificate, PEM; by certificate only")] = ""
    alipay_cert: Annotated[
        str, hint("alipayCertPublicKey_RSA2.crt: Alipay's certificate, PEM; by certificate only")
    ] = ""
    root_cert: Annotated[str, hint("alipayRootCert.crt: the roots of both, PEM; by certificate only")] = ""
    app_auth_token: Annotated[
        str, hint("the seller's grant to a partner's app; empty if the app is the seller's own", secret=True)
    ] = ""
    oauth_url: Annotated[str, hint("where a wallet tells who its owner is")] = OAUTH

    @property
    def account_ref(self) -> str:
        return self.seller_id

    @property
    def app_ref(self) -> str:
        return self.app_id

    def __post_init__(self) -> None:
        super().__post_init__()
        http_address("gateway", self.gateway)
        http_address("oauth_url", self.oauth_url)
        if self.mode not in ("key", "certificate"):
            raise ValueError("mode must be key or certificate")
        needed = ("alipay_public_key",) if self.mode == "key" else ("app_cert", "alipay_cert", "root_cert")
        for name in needed:
            if not str(getattr(self, name)).strip():
                raise ValueError(f"{name} is empty, and mode {self.mode} needs it")
