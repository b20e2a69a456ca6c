// AlipayJSBridge, for a page that an ordinary browser opens in Alipay's stead: `tradePay` opens the wallet's sheet beside the page
// and hands back what became of it, as Alipay does: resultCode 9000 paid, 6001 walked away, 4000 not paid.
(() => {
  const wallet = "__WALLET__";
  const call = (name, params, done) => {
    if (name !== "tradePay") throw new Error(`AlipayJSBridge knows no ${name} here`);
    const sheet = window.open(`${wallet}/alipay/wallet?trade_no=${encodeURIComponent(params.tradeNO)}`, "_blank");
    const heard = (event) => {
      if (event.source !== sheet || event.origin !== wallet) return;
      window.removeEventListener("message", heard);
      sheet.close();
      if (done) done({ resultCode: event.data.resultCode });
    };
    window.addEventListener("message", heard);
  };
  window.AlipayJSBridge = { call };
  document.dispatchEvent(new Event("AlipayJSBridgeReady"));
})();
