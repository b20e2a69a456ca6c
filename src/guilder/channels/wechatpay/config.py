"""What one WeChat Pay merchant account needs to be spoken for."""

from typing import Annotated, Literal

from guilder.channels.config import ChannelConfig, hint, http_address


class WeChatConfig(ChannelConfig, frozen=True, kw_only=True):
    """`trust` says by what WeChat's own signatures are verified: a public key from the merchant platform (all new
    merchants), or platform certificates, which the adapter fetches."""

    base_url: Annotated[str, hint("https://api.mch.weixin.qq.com, or a simulator")]
    mchid: Annotated[str, hint("merchant number, ten digits")]
    appid: Annotated[str, hint("the app, mini program or official account that asks: wx...")]
    serial_no: Annotated[str, hint("serial number of the merchant certificate, hexadecimal")]
    private_key: Annotated[str, hint("apiclient_key.pem: the merchant's private key", secret=True)]
    apiv3_key: Annotated[str, hint("APIv3 key, 32 characters: decrypts callbacks and certificates", secret=True)]
    trust: Annotated[Literal["public_key", "certificate"], hint("how WeChat's signatures are verified")]
    public_key_id: Annotated[str, hint("PUB_KEY_ID_..., with trust by public key")] = ""
    public_key: Annotated[str, hint("pub_key.pem: WeChat Pay's public key")] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        http_address("base_url", self.base_url)
        if len(self.apiv3_key.encode()) != 32:
            raise ValueError("apiv3_key must be 32 bytes long")
        if self.trust not in ("public_key", "certificate"):
            raise ValueError("trust must be public_key or certificate")
        named, given = bool(self.public_key_id.strip()), bool(self.public_key.strip())
        if self.trust == "public_key" and not (named and given):
            raise ValueError("trust by public key needs public_key_id and public_key")
        if named != given:
            raise ValueError("public_key_id and public_key belong together")
