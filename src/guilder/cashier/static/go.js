// On to the channel's page, with what it has signed.
"use strict";

document.getElementById("go").submit();
