// WeixinJSBridge, as a page inside WeChat finds it: `WeixinJSBridge.invoke(api, params, callback)`.  It opens the simulator's page and
// tells the callback what became of it: {err_msg: "get_brand_wcpay_request:ok"}, ":cancel" or ":fail".
(function () {
  "use strict";
  if (window.WeixinJSBridge) return;
  var origin = "{{ origin }}";
  var NAMES = { getBrandWCPayRequest: "get_brand_wcpay_request", requestMerchantTransfer: "requestMerchantTransfer" };

  function invoke(api, params, callback) {
    var query = "?api=" + encodeURIComponent(api) + "&params=" + encodeURIComponent(JSON.stringify(params));
    var opened = window.open(origin + "/wechat/invoke" + query, "_blank");
    var watch = null;
    function end(result) {
      window.clearInterval(watch);
      window.removeEventListener("message", hear);
      if (callback) callback({ err_msg: (NAMES[api] || api) + ":" + result });
    }
    function hear(event) {
      if (event.origin === origin && event.data && event.data.wechat) end(event.data.wechat);
    }
    if (!opened) return end("fail");
    window.addEventListener("message", hear);
    watch = window.setInterval(function () {
      if (opened.closed) end("cancel");
    }, 300);
  }

  window.WeixinJSBridge = { invoke: invoke, call: function () {}, on: function () {} };
  document.dispatchEvent(new Event("WeixinJSBridgeReady"));
})();
