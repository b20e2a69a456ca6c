"""What one WeChat Pay merchant account needs to be spoken for."""

from typing import Annotated, Literal

from guilder.channels.config import ChannelConfig, hint, http_address


class WeChatConfig(ChannelConfig, frozen=True, kw_only=True):
    """`trust` says by what WeChat's own signatures are verified: a public key from the merchant platform (all new
    merchants), or platform certificates, which the adapter fetches.

    `mode` says who signs: the merchant (direct), or a service provider for one of its merchants (partner).  Then `mchid`, `appid` and
    the keys are the service provider's, and `sub_mchid` names whose money it is."""

    base_url: Annotated[str, hint("https://api.mch.weixin.qq.com, or a simulator")]
    mchid: Annotated[str, hint("merchant number, ten digits; in partner mode the service provider's")]
    appid: Annotated[
        str, hint("the app, mini program or official account that asks: wx...; in partner mode the service provider's")
    ]
    serial_no: Annotated[str, hint("serial number of the merchant certificate, hexadecimal")]
    private_key: Annotated[str, hint("apiclient_key.pem: the merchant's private key", secret=True)]
    apiv3_key: Annotated[str, hint("APIv3 key, 32 characters: decrypts callbacks and certificates", secret=True)]
    trust: Annotated[Literal["public_key", "certificate"], hint("how WeChat's signatures are verified")]
    public_key_id: Annotated[str, hint("PUB_KEY_ID_..., with trust by public key")] = ""
    public_key: Annotated[str, hint("pub_key.pem: WeChat Pay's public key")] = ""
    mode: Annotated[Literal["direct", "partner"], hint("whether the merchant signs, or a service provider for it")] = (
        "direct"
    )
    sub_mchid: Annotated[str, hint("partner mode: the merchant's own number")] = ""
    sub_appid: Annotated[str, hint("partner mode: the merchant's own application, if payers come from there")] = ""
    mini_appid: Annotated[str, hint("the mini program, if it is another than appid")] = ""
    app_appid: Annotated[str, hint("the mobile app, if it is another than appid")] = ""
    app_secret: Annotated[str, hint("AppSecret of the official account: tells who holds the phone", secret=True)] = ""
    oauth_url: Annotated[str, hint("empty for WeChat's own hosts, or a simulator")] = ""
    transfer_scene_id: Annotated[str, hint("payouts: the scene that WeChat Pay has granted, such as 1000")] = ""
    transfer_report: Annotated[str, hint("payouts: what the scene reports, type=content with semicolons between")] = ""

    @property
    def account_ref(self) -> str:
        return self.sub_mchid if self.mode == "partner" else self.mchid

    @property
    def app_ref(self) -> str:
        return self.appid

    def app_of(self, way: str) -> str:
        """The application that a direct merchant asks from by `way`."""
        return {"mini": self.mini_appid, "app": self.app_appid}.get(way, "") or self.appid

    @property
    def payer_app(self) -> str:
        """The application whose openids payers have, where it is no mini program's."""
        return self.sub_appid or self.appid

    def reports(self) -> list[tuple[str, str]]:
        """`transfer_report`, taken apart."""
        parts = (part.partition("=") for part in self.transfer_report.split(";") if part.strip())
        return [(type.strip(), content.strip()) for type, _, content in parts]

    def __post_init__(self) -> None:
        super().__post_init__()
        http_address("base_url", self.base_url)
        if self.oauth_url:
            http_address("oauth_url", self.oauth_url)
        if len(self.apiv3_key.encode()) != 32:
            raise ValueError("apiv3_key must be 32 bytes long")
        if self.trust not in ("public_key", "certificate"):
            raise ValueError("trust must be public_key or certificate")
        named, given = bool(self.public_key_id.strip()), bool(self.public_key.strip())
        if self.trust == "public_key" and not (named and given):
            raise ValueError("trust by public key needs public_key_id and public_key")
        if named != given:
            raise ValueError("public_key_id and public_key belong together")
        if self.mode not in ("direct", "partner"):
            raise ValueError("mode must be direct or partner")
        if (self.mode == "partner") != bool(self.sub_mchid.strip()):
            raise ValueError("sub_mchid is for partner mode, and needed there")
        if self.mode == "direct" and self.sub_appid.strip():
            raise ValueError("sub_appid is for partner mode")
        if not all(type and content for type, content in self.reports()):
            raise ValueError("transfer_report is type=content, with semicolons between")
