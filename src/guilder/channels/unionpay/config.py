"""What a UnionPay account must be configured with."""

from typing import Annotated, Literal

from guilder.channels.config import ChannelConfig, hint, http_address


class UnionPayConfig(ChannelConfig, frozen=True, kw_only=True):
    """One merchant.  UnionPay hands out key and certificate in one .pfx: `openssl pkcs12 -in acp.pfx -nodes` shows both as PEM."""

    base_url: Annotated[str, hint("https://gateway.95516.com")]
    file_url: Annotated[str, hint("https://filedownload.95516.com, where the files of a day are")]
    mer_id: Annotated[str, hint("merchant number, 15 letters or digits")]
    private_key: Annotated[str, hint("the merchant's private key, PEM", secret=True)]
    certificate: Annotated[str, hint("the merchant's signing certificate, PEM: its serial number is the certId")]
    root_certificate: Annotated[str, hint("UnionPay's root certificate, PEM: acp_prod_root.cer")]
    middle_certificate: Annotated[str, hint("the one between it and UnionPay's own, PEM: acp_prod_middle.cer")]
    stage: Annotated[
        Literal["production", "test"], hint("test: believe the signatures of UnionPay's test gateway too")
    ] = "production"

    @property
    def account_ref(self) -> str:
        return self.mer_id

    def __post_init__(self) -> None:
        super().__post_init__()
        http_address("base_url", self.base_url)
        http_address("file_url", self.file_url)
        if len(self.mer_id) != 15 or not (self.mer_id.isascii() and self.mer_id.isalnum()):
            raise ValueError("mer_id is not 15 letters or digits")
