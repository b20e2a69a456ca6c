// The hosted fields of the Stripe simulator: a page loads this where it would load js.stripe.com/v3/.
// Numbers typed here go to the simulator only, and come back as a payment method's id.
(() => {
  const home = new URL(document.currentScript.src).origin;
  window.Stripe = (key) => {
    const call = async (path, fields) => {
      const reply = await fetch(home + path, {
        method: "POST",
        headers: { Authorization: `Bearer ${key}` },
        body: new URLSearchParams(fields),
      });
      const said = await reply.json();
      return said.error ? { error: said.error } : { said };
    };
    const elements = () => {
      let input = null;
      const element = {
        mount(place) {
          const home = typeof place === "string" ? document.querySelector(place) : place;
          input = document.createElement("input");
          input.name = "stripe-card-number";
          input.placeholder = "4242 4242 4242 4242";
          input.inputMode = "numeric";
          input.autocomplete = "cc-number";
          home.replaceChildren(input);
        },
        on() {},
        unmount() { input?.remove(); },
        number: () => input?.value || "4242424242424242",
      };
      const all = { create: () => (all.element = element), getElement: () => element, submit: async () => ({}), element };
      return all;
    };
    const createPaymentMethod = async ({ card, elements: all }) => {
      const number = (card?.number ? card : all.element).number();
      const { error, said } = await call("/v1/payment_methods", { type: "card", "card[number]": number });
      return error ? { error } : { paymentMethod: said };
    };
    const handleNextAction = async ({ clientSecret, intent, away = true }) => {
      const action = intent?.next_action;
      if (action?.type === "redirect_to_url" && away) window.location.assign(action.redirect_to_url.url);
      if (action?.type === "use_stripe_sdk") window.open(`${home}/phone?code=${encodeURIComponent(clientSecret)}`);
      return { paymentIntent: intent };
    };
    const confirm = async (clientSecret, method, returnUrl) => {
      const id = clientSecret.split("_secret_")[0];
      const fields = { client_secret: clientSecret, payment_method: method };
      if (returnUrl) fields.return_url = returnUrl;
      const { error, said } = await call(`/v1/payment_intents/${id}/confirm`, fields);
      return error ? { error } : handleNextAction({ clientSecret, intent: said });
    };
    return {
      elements,
      createPaymentMethod,
      handleNextAction,
      async confirmCardPayment(clientSecret, { payment_method, return_url } = {}) {
        if (typeof payment_method === "string") return confirm(clientSecret, payment_method, return_url);
        const made = await createPaymentMethod({ card: payment_method.card });
        return made.error ? made : confirm(clientSecret, made.paymentMethod.id, return_url);
      },
      async confirmPayment({ elements: all, clientSecret, confirmParams = {} }) {
        const made = await createPaymentMethod({ elements: all });
        return made.error ? made : confirm(clientSecret, made.paymentMethod.id, confirmParams.return_url);
      },
    };
  };
})();
