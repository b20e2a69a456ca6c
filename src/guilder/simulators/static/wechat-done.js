// Tell the page that has opened this one what the payer did, and go.
(function () {
  "use strict";
  var result = document.body.getAttribute("data-result");
  if (result && window.opener) {
    window.opener.postMessage({ wechat: result }, "*");
    window.setTimeout(window.close, 400);
  }
})();
