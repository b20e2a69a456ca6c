// The sheet has been pressed: tell the page that opened it.
const { result } = document.body.dataset;
if (result && window.opener) window.opener.postMessage({ resultCode: result }, "*");
