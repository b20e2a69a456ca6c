// The amount, as it is typed: digits and one point, no more decimals than the currency has.
"use strict";

(() => {
  const field = document.getElementById("amount");
  if (!field) return;
  const decimals = Number(field.dataset.decimals);
  field.addEventListener("input", () => {
    const typed = field.value.replace(/[。．,，]/g, ".").replace(/[^\d.]/g, "");
    const [whole, ...rest] = typed.split(".");
    const part = rest.join("").slice(0, decimals);
    field.value = whole.slice(0, 9) + (rest.length && decimals ? `.${part}` : "");
    field.removeAttribute("aria-invalid");
  });
  field.form.addEventListener("submit", (event) => {
    if (field.form.classList.contains("sent")) event.preventDefault();
    field.form.classList.add("sent");
  });
  addEventListener("pageshow", () => field.form.classList.remove("sent"));
})();
