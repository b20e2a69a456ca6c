// The channel's own fields for a card, on a page of ours.  What is typed there is the channel's script's alone.
"use strict";

(() => {
  const card = document.getElementById("card");
  const { key, secret, back, failed } = card.dataset;
  const button = card.querySelector("button");
  const problem = card.querySelector(".problem");
  const stripe = window.Stripe(key);
  const elements = stripe.elements({ clientSecret: secret });
  elements.create("payment").mount(card.querySelector(".hosted"));

  button.addEventListener("click", async () => {
    button.disabled = true;
    problem.hidden = true;
    const said = await stripe.confirmPayment({ elements, clientSecret: secret, confirmParams: { return_url: back }, redirect: "if_required" }).catch((error) => ({ error }));
    if (said.error) {
      problem.textContent = said.error.message || failed;
      problem.hidden = false;
      button.disabled = false;
    } else if (said.paymentIntent?.status !== "requires_action") {
      location.assign(back); // what the script says is a hint: the channel is asked there
    }
  });
})();
