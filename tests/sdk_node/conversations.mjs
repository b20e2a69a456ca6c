// Every call of the dialect, and its behaviours, spoken by the official stripe package as a shop's server speaks it.
//
//   GUILDER='{"host": "127.0.0.1", "port": 8000, "key": "sk_test_…", "reader": "rk_test_…", …}' node conversations.mjs
//
// Prints one JSON array: {name, call, result}; result is "ok" or what went wrong.  tests/sdk has the same in Python.

import assert from 'node:assert/strict';
import {createServer} from 'node:http';
import Stripe from 'stripe';

const task = JSON.parse(process.env.GUILDER);
const at = {host: task.host, port: task.port, protocol: 'http', maxNetworkRetries: 0, telemetry: false};
const stripe = new Stripe(task.key, at);

const TEA = {amount: 1250, currency: 'cny', payment_method_types: ['wechat_pay']};
const AUTOPAY = 'pm_sim_wechat_pay__autopay';
const byCard = (token) => ({
  ...TEA, payment_method_types: ['card'], payment_method: 'pm_sim_card', confirm: true,
  payment_method_options: {card: {client: 'token', token}},
});
const WALLET = {type: 'alipay', payee: {account: '2088101117955611'}};
const NOBODY = {type: 'alipay', payee: {account: 'nobody@example.com', name: 'Nobody'}};
const BASKET = {
  mode: 'payment',
  success_url: 'https://shop.example/done?session={CHECKOUT_SESSION_ID}',
  cancel_url: 'https://shop.example/basket',
  line_items: [
    {quantity: 2, price_data: {currency: 'cny', unit_amount: 500, product_data: {name: '绿茶'}}},
    {quantity: 1, price_data: {currency: 'cny', unit_amount: 250, product_data: {name: 'Cup'}}},
  ],
};

const heard = [];
const door = createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    heard.push({body: Buffer.concat(chunks), headers: request.headers});
    response.end('ok');
  });
});
await new Promise((resolve) => door.listen(0, '127.0.0.1', resolve));
const hooks = `http://127.0.0.1:${door.address().port}/webhooks`;

async function until(look) {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    assert(Date.now() < deadline, 'it did not come to pass within 30 s');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function paid(params = {}) {
  const made = await stripe.paymentIntents.create({...TEA, payment_method: AUTOPAY, confirm: true, ...params});
  return until(async () => {
    const found = await stripe.paymentIntents.retrieve(made.id);
    return found.status === 'succeeded' && found;
  });
}

async function fails(promise, expected) {
  const error = await promise.then(
    () => assert.fail('it was accepted'),
    (caught) => caught,
  );
  assert(error instanceof expected.is, `${error.constructor.name}: ${error.message}`);
  for (const [name, value] of Object.entries(expected)) if (name !== 'is') assert.equal(error[name], value, name);
  return error;
}

async function disputed() {
  const {id} = await stripe.paymentIntents.create(byCard('pm_card_createDispute'));
  return until(async () => (await stripe.disputes.list({payment_intent: id})).data[0]);
}

const payOut = (amount, more = {}) => stripe.payouts.create({amount, currency: 'cny', destination_data: WALLET, ...more});

const ids = (page) => page.data.map((thing) => thing.id);
const E = Stripe.errors;

// name in the table -> [the call in Node, the conversation]
const CALLS = {
  'payment_intents.create': ['paymentIntents.create', async () => {
    const made = await stripe.paymentIntents.create({
      ...TEA, description: '茶', metadata: {order: '6735'}, receipt_email: 'payer@example.com',
      shipping: {name: '李雷', address: {line1: '长安街 1 号', city: '北京'}},
    });
    assert.deepEqual([made.status, made.amount, made.currency], ['requires_payment_method', 1250, 'cny']);
    assert.deepEqual([made.metadata, made.shipping.address.city], [{order: '6735'}, '北京']);
    const asked = await stripe.paymentIntents.create({...TEA, confirm: true, payment_method_data: {type: 'wechat_pay'}});
    assert.equal(asked.next_action.type, 'wechat_pay_display_qr_code');
    assert.match(asked.next_action.wechat_pay_display_qr_code.data, /^weixin:\/\//);
    const offered = await stripe.paymentIntents.create({
      amount: 100, currency: 'cny', automatic_payment_methods: {enabled: true},
    });
    assert.deepEqual(offered.payment_method_types, ['wechat_pay', 'alipay', 'card']);
    const some = await stripe.paymentIntents.create({amount: 100, currency: 'cny', allowed_payment_method_types: ['alipay']});
    assert.deepEqual(some.payment_method_types, ['alipay']);
  }],
  'payment_intents.retrieve': ['paymentIntents.retrieve', async () => {
    const customer = await stripe.customers.create({name: 'Han Meimei'});
    const {id} = await paid({customer: customer.id});
    const expand = ['latest_charge', 'customer', 'payment_method'];
    const found = await stripe.paymentIntents.retrieve(id, {expand});
    assert.deepEqual([found.latest_charge.amount, found.customer.name, found.payment_method.type], [1250, 'Han Meimei', 'wechat_pay']);
    assert.equal((await stripe.paymentIntents.retrieve(id, {client_secret: found.client_secret})).id, id);
  }],
  'payment_intents.update': ['paymentIntents.update', async () => {
    const made = await stripe.paymentIntents.create({...TEA, description: 'x', metadata: {a: '1', b: '2'}});
    const now = await stripe.paymentIntents.update(made.id, {amount: 900, payment_method: AUTOPAY, description: '', metadata: {a: '', c: '3'}});
    assert.deepEqual([now.amount, now.description, now.status], [900, null, 'requires_confirmation']);
    assert.deepEqual(now.metadata, {b: '2', c: '3'});
  }],
  'payment_intents.list': ['paymentIntents.list', async () => {
    const customer = (await stripe.customers.create({})).id;
    const made = [];
    for (let i = 0; i < 3; i++) made.unshift((await stripe.paymentIntents.create({...TEA, customer})).id);
    const page = await stripe.paymentIntents.list({customer, limit: 2, expand: ['data.customer']});
    assert.deepEqual([ids(page), page.has_more, page.data[0].customer.object], [made.slice(0, 2), true, 'customer']);
  }],
  'payment_intents.confirm': ['paymentIntents.confirm', async () => {
    const made = await stripe.paymentIntents.create({...TEA, payment_method_types: ['wechat_pay', 'alipay']});
    const asked = await stripe.paymentIntents.confirm(made.id, {payment_method_data: {type: 'alipay'}, return_url: 'https://shop.example/back'});
    assert.equal(asked.next_action.alipay_handle_redirect.return_url, 'https://shop.example/back');
    await stripe.paymentIntents.confirm(made.id, {payment_method: AUTOPAY});
    await until(async () => (await stripe.paymentIntents.retrieve(made.id)).amount_received === 1250);
    const code = await stripe.paymentIntents.create({
      ...TEA, payment_method_types: ['alipay'], payment_method: 'pm_alipay', confirm: true,
      payment_method_options: {alipay: {client: 'qr'}},
    });
    assert.equal(code.next_action.type, 'alipay_display_qr_code');
  }],
  'payment_intents.capture': ['paymentIntents.capture', async () => {
    const held = await stripe.paymentIntents.create({...byCard('pm_card_visa'), capture_method: 'manual'});
    assert.deepEqual([held.status, held.amount_capturable], ['requires_capture', 1250]);
    await stripe.paymentIntents.capture(held.id, {amount_to_capture: 1000});
    await until(async () => (await stripe.paymentIntents.retrieve(held.id)).amount_received === 1000);
    const {id} = await paid();
    const error = await fails(stripe.paymentIntents.capture(id), {is: E.StripeInvalidRequestError, code: 'payment_intent_unexpected_state'});
    assert.equal(error.payment_intent.id, id);
  }],
  'payment_intents.cancel': ['paymentIntents.cancel', async () => {
    const made = await stripe.paymentIntents.create(TEA);
    const ended = await stripe.paymentIntents.cancel(made.id, {cancellation_reason: 'abandoned'});
    assert.deepEqual([ended.status, ended.cancellation_reason], ['canceled', 'abandoned']);
    const asked = await stripe.paymentIntents.create({...TEA, confirm: true, payment_method: 'pm_wechat_pay'});
    assert.equal((await stripe.paymentIntents.cancel(asked.id)).status, 'canceled');
  }],
  'charges.retrieve': ['charges.retrieve', async () => {
    const {id, latest_charge} = await paid();
    const charge = await stripe.charges.retrieve(latest_charge, {expand: ['payment_intent']});
    assert.deepEqual([charge.amount, charge.paid, charge.payment_intent.id], [1250, true, id]);
    assert(charge.payment_method_details.wechat_pay.transaction_id);
  }],
  'payouts.create': ['payouts.create', async () => {
    await paid({amount: 50_000});
    const made = await payOut(900, {description: 'Rent', metadata: {a: '1'}});
    assert.deepEqual([made.amount, made.description, made.type], [900, 'Rent', 'alipay']);
    await until(async () => (await stripe.payouts.retrieve(made.id)).status === 'paid');
    assert.equal((await payOut(900, {destination_data: NOBODY})).status, 'failed');
    await fails(payOut(1e10), {is: E.StripeInvalidRequestError, code: 'balance_insufficient'});
  }],
  'payouts.retrieve': ['payouts.retrieve', async () => {
    await paid();
    const {id} = await payOut(10);
    const found = await stripe.payouts.retrieve(id);
    assert.deepEqual([found.id, found.amount, found.currency, found.livemode], [id, 10, 'cny', false]);
  }],
  'payouts.update': ['payouts.update', async () => {
    await paid();
    const {id} = await payOut(10, {metadata: {a: '1'}});
    assert.deepEqual((await stripe.payouts.update(id, {metadata: {b: '2'}})).metadata, {a: '1', b: '2'});
  }],
  'payouts.list': ['payouts.list', async () => {
    await paid();
    const made = [(await payOut(10)).id, (await payOut(11)).id];
    assert.deepEqual(ids(await stripe.payouts.list({limit: 2})), made.reverse());
    assert((await stripe.payouts.list({status: 'paid'})).data.every((one) => one.status === 'paid'));
  }],
  'disputes.retrieve': ['disputes.retrieve', async () => {
    const {id} = await disputed();
    const found = await stripe.disputes.retrieve(id, {expand: ['charge']});
    assert.deepEqual([found.amount, found.reason, found.status, found.charge.amount], [1250, 'fraudulent', 'needs_response', 1250]);
  }],
  'disputes.update': ['disputes.update', async () => {
    const {id} = await disputed();
    const kept = await stripe.disputes.update(id, {evidence: {product_description: 'Tea'}, submit: false, metadata: {a: '1'}});
    assert.deepEqual([kept.status, kept.evidence.product_description, kept.metadata], ['needs_response', 'Tea', {a: '1'}]);
    await stripe.disputes.update(id, {evidence: {uncategorized_text: 'winning_evidence'}});
    await until(async () => (await stripe.disputes.retrieve(id)).status === 'won');
    const more = {evidence: {uncategorized_text: 'more'}};
    await fails(stripe.disputes.update(id, more), {is: E.StripeInvalidRequestError, code: 'dispute_closed'});
  }],
  'disputes.close': ['disputes.close', async () => {
    const {id} = await disputed();
    await stripe.disputes.close(id);
    await until(async () => (await stripe.disputes.retrieve(id)).status === 'lost');
  }],
  'disputes.list': ['disputes.list', async () => {
    const made = [await disputed(), await disputed()];
    assert.deepEqual(ids(await stripe.disputes.list({limit: 2})), [made[1].id, made[0].id]);
    assert.deepEqual(ids(await stripe.disputes.list({charge: made[0].charge})), [made[0].id]);
  }],
  'balance.retrieve': ['balance.retrieve', async () => {
    const before = (await stripe.balance.retrieve()).available[0].amount;
    const {id} = await paid();
    await stripe.refunds.create({payment_intent: id, amount: 250});
    const now = await until(async () => {
      const found = await stripe.balance.retrieve();
      return found.available[0].amount === before + 1000 && found;
    });
    assert.deepEqual([now.available[0].currency, now.pending[0].amount, now.livemode], ['cny', 0, false]);
  }],
  'balance_transactions.list': ['balanceTransactions.list', async () => {
    const {latest_charge} = await paid();
    const listed = (await stripe.balanceTransactions.list({source: latest_charge})).data;
    assert.deepEqual(listed.map((b) => [b.type, b.amount, b.net, b.currency]), [['charge', 1250, 1250, 'cny']]);
    assert.deepEqual((await stripe.balanceTransactions.list({currency: 'usd'})).data, []);
    await fails(stripe.balanceTransactions.list({source: 'ch_no'}), {is: E.StripeInvalidRequestError, code: 'resource_missing'});
  }],
  'balance_transactions.retrieve': ['balanceTransactions.retrieve', async () => {
    const {latest_charge} = await paid();
    const [made] = (await stripe.balanceTransactions.list({source: latest_charge})).data;
    const one = await stripe.balanceTransactions.retrieve(made.id);
    assert.deepEqual([one.id, one.source, one.status, one.fee], [made.id, latest_charge, 'available', 0]);
  }],
  'charges.list': ['charges.list', async () => {
    const customer = (await stripe.customers.create({})).id;
    const one = await paid({customer});
    const two = await paid({customer});
    assert.deepEqual((await stripe.charges.list({customer})).data.map((c) => c.payment_intent), [two.id, one.id]);
    assert.deepEqual(ids(await stripe.charges.list({payment_intent: one.id})), [one.latest_charge]);
  }],
  'refunds.create': ['refunds.create', async () => {
    const {id, latest_charge} = await paid();
    const part = await stripe.refunds.create({payment_intent: id, amount: 250, reason: 'requested_by_customer', metadata: {n: '1'}});
    assert.deepEqual([part.amount, part.reason, part.metadata], [250, 'requested_by_customer', {n: '1'}]);
    const rest = await stripe.refunds.create({charge: latest_charge});
    assert.equal(rest.amount, 1000);
    await fails(stripe.refunds.create({payment_intent: id}), {is: E.StripeInvalidRequestError, code: 'charge_already_refunded'});
    await until(async () => (await stripe.refunds.retrieve(rest.id)).status === 'succeeded');
  }],
  'refunds.retrieve': ['refunds.retrieve', async () => {
    const {id} = await paid();
    const made = await stripe.refunds.create({payment_intent: id, amount: 1});
    const found = await stripe.refunds.retrieve(made.id, {expand: ['charge', 'payment_intent']});
    assert.deepEqual([found.charge.amount_refunded, found.payment_intent.id], [1, id]);
  }],
  'refunds.update': ['refunds.update', async () => {
    const made = await stripe.refunds.create({payment_intent: (await paid()).id, metadata: {a: '1'}});
    assert.deepEqual((await stripe.refunds.update(made.id, {metadata: {b: '2'}})).metadata, {a: '1', b: '2'});
  }],
  'refunds.list': ['refunds.list', async () => {
    const {id, latest_charge} = await paid();
    const one = await stripe.refunds.create({payment_intent: id, amount: 1});
    const two = await stripe.refunds.create({payment_intent: id, amount: 2});
    assert.deepEqual(ids(await stripe.refunds.list({payment_intent: id})), [two.id, one.id]);
    assert.deepEqual(ids(await stripe.refunds.list({charge: latest_charge, limit: 1})), [two.id]);
  }],
  'customers.create': ['customers.create', async () => {
    const person = {name: '韩梅梅', email: 'han@example.cn', phone: '+8610', description: 'regular', metadata: {level: 'gold'}, preferred_locales: ['zh-CN']};
    const made = await stripe.customers.create({...person, address: {city: '北京'}});
    for (const [name, value] of Object.entries(person)) assert.deepEqual(made[name], value, name);
    assert.equal(made.address.city, '北京');
  }],
  'customers.retrieve': ['customers.retrieve', async () => {
    const {id} = await stripe.customers.create({email: 'li@example.cn'});
    assert.equal((await stripe.customers.retrieve(id)).email, 'li@example.cn');
    await stripe.customers.del(id);
    assert.equal((await stripe.customers.retrieve(id)).deleted, true);
  }],
  'customers.update': ['customers.update', async () => {
    const {id} = await stripe.customers.create({name: 'Li', email: 'li@example.cn', metadata: {a: '1'}});
    const now = await stripe.customers.update(id, {name: '', metadata: {a: '', b: '2'}});
    assert.deepEqual([now.name, now.email, now.metadata], [null, 'li@example.cn', {b: '2'}]);
  }],
  'customers.delete': ['customers.del', async () => {
    const {id} = await stripe.customers.create({name: 'Li'});
    assert.equal((await stripe.customers.del(id)).deleted, true);
  }],
  'customers.list': ['customers.list', async () => {
    const email = 'node-same@example.cn';
    const one = await stripe.customers.create({email});
    const two = await stripe.customers.create({email});
    assert.deepEqual(ids(await stripe.customers.list({email})), [two.id, one.id]);
  }],
  'payment_methods.create': ['paymentMethods.create', async () => {
    const made = await stripe.paymentMethods.create({type: 'alipay', billing_details: {name: 'Han'}, metadata: {a: '1'}});
    assert.deepEqual([made.type, made.billing_details.name, made.metadata], ['alipay', 'Han', {a: '1'}]);
    await fails(stripe.paymentMethods.create({type: 'card', card: {number: '4242424242424242'}}), {is: E.StripeInvalidRequestError, code: 'card_data_refused'});
  }],
  'payment_methods.retrieve': ['paymentMethods.retrieve', async () => {
    const made = await stripe.paymentMethods.create({type: 'wechat_pay'});
    await stripe.paymentMethods.attach(made.id, {customer: (await stripe.customers.create({name: 'Li'})).id});
    assert.equal((await stripe.paymentMethods.retrieve(made.id, {expand: ['customer']})).customer.name, 'Li');
  }],
  'payment_methods.attach': ['paymentMethods.attach', async () => {
    const customer = (await stripe.customers.create({})).id;
    const made = await stripe.paymentMethods.create({type: 'wechat_pay'});
    assert.equal((await stripe.paymentMethods.attach(made.id, {customer})).customer, customer);
    const asked = await stripe.paymentIntents.create({...TEA, customer, payment_method: made.id, confirm: true});
    assert.deepEqual([asked.status, asked.payment_method], ['requires_action', made.id]);
  }],
  'payment_methods.detach': ['paymentMethods.detach', async () => {
    const made = await stripe.paymentMethods.create({type: 'wechat_pay'});
    await stripe.paymentMethods.attach(made.id, {customer: (await stripe.customers.create({})).id});
    assert.equal((await stripe.paymentMethods.detach(made.id)).customer, null);
    await fails(stripe.paymentMethods.detach(made.id), {is: E.StripeInvalidRequestError, code: 'payment_method_unexpected_state'});
  }],
  'payment_methods.list': ['paymentMethods.list', async () => {
    const customer = (await stripe.customers.create({})).id;
    const made = await stripe.paymentMethods.create({type: 'wechat_pay'});
    await stripe.paymentMethods.attach(made.id, {customer});
    assert.deepEqual(ids(await stripe.paymentMethods.list({customer, type: 'wechat_pay'})), [made.id]);
    assert.deepEqual(ids(await stripe.paymentMethods.list({customer, type: 'alipay'})), []);
  }],
  'customers.payment_methods.list': ['customers.listPaymentMethods', async () => {
    const customer = (await stripe.customers.create({})).id;
    const made = await stripe.paymentMethods.create({type: 'alipay'});
    await stripe.paymentMethods.attach(made.id, {customer});
    assert.deepEqual(ids(await stripe.customers.listPaymentMethods(customer)), [made.id]);
  }],
  'checkout.sessions.create': ['checkout.sessions.create', async () => {
    const made = await stripe.checkout.sessions.create({...BASKET, client_reference_id: '6735', customer_email: 'han@example.cn'});
    assert.deepEqual([made.status, made.payment_status, made.amount_total, made.currency], ['open', 'unpaid', 1250, 'cny']);
    assert(made.url.startsWith(task.cashier), made.url);
  }],
  'checkout.sessions.retrieve': ['checkout.sessions.retrieve', async () => {
    const {id} = await stripe.checkout.sessions.create(BASKET);
    const found = await stripe.checkout.sessions.retrieve(id, {expand: ['line_items']});
    assert.deepEqual(found.line_items.data.map((i) => [i.quantity, i.amount_total]), [[2, 1000], [1, 250]]);
  }],
  'checkout.sessions.line_items.list': ['checkout.sessions.listLineItems', async () => {
    const {id} = await stripe.checkout.sessions.create(BASKET);
    const items = await stripe.checkout.sessions.listLineItems(id, {limit: 1}).autoPagingToArray({limit: 10});
    assert.deepEqual(items.map((i) => i.description), ['绿茶', 'Cup']);
  }],
  'checkout.sessions.list': ['checkout.sessions.list', async () => {
    const one = await stripe.checkout.sessions.create(BASKET);
    const two = await stripe.checkout.sessions.create(BASKET);
    assert.deepEqual(ids(await stripe.checkout.sessions.list({limit: 2})), [two.id, one.id]);
  }],
  'checkout.sessions.expire': ['checkout.sessions.expire', async () => {
    const {id} = await stripe.checkout.sessions.create(BASKET);
    const ended = await stripe.checkout.sessions.expire(id);
    assert.deepEqual([ended.status, ended.url], ['expired', null]);
  }],
  'events.retrieve': ['events.retrieve', async () => {
    const made = await stripe.paymentIntents.create(TEA);
    const event = (await stripe.events.list({limit: 20})).data.find((e) => e.data.object.id === made.id);
    const found = await stripe.events.retrieve(event.id);
    assert.deepEqual([found.type, found.data.object.status], ['payment_intent.created', 'requires_payment_method']);
  }],
  'events.list': ['events.list', async () => {
    await stripe.paymentIntents.create(TEA);
    const page = await stripe.events.list({type: 'payment_intent.created', limit: 1});
    assert.deepEqual(page.data.map((e) => e.type), ['payment_intent.created']);
  }],
  'webhook_endpoints.create': ['webhookEndpoints.create', async () => {
    const made = await stripe.webhookEndpoints.create({url: hooks, enabled_events: ['payment_intent.created']});
    const {id} = await stripe.paymentIntents.create(TEA);
    const said = await until(() => heard.find((h) => h.body.includes(id)));
    const event = stripe.webhooks.constructEvent(said.body, said.headers['stripe-signature'], made.secret);
    assert.deepEqual([event.type, event.data.object.id], ['payment_intent.created', id]);
    assert.throws(() => stripe.webhooks.constructEvent(said.body, said.headers['stripe-signature'], 'whsec_other'), E.StripeSignatureVerificationError);
    await stripe.webhookEndpoints.del(made.id);
  }],
  'webhook_endpoints.retrieve': ['webhookEndpoints.retrieve', async () => {
    const {id} = await stripe.webhookEndpoints.create({url: hooks, enabled_events: ['*']});
    const found = await stripe.webhookEndpoints.retrieve(id);
    assert.deepEqual([found.url, found.status, found.secret], [hooks, 'enabled', undefined]);
    await stripe.webhookEndpoints.del(id);
  }],
  'webhook_endpoints.update': ['webhookEndpoints.update', async () => {
    const {id} = await stripe.webhookEndpoints.create({url: hooks, enabled_events: ['*']});
    const now = await stripe.webhookEndpoints.update(id, {enabled_events: ['charge.refunded'], disabled: true});
    assert.deepEqual([now.enabled_events, now.status], [['charge.refunded'], 'disabled']);
    await stripe.webhookEndpoints.del(id);
  }],
  'webhook_endpoints.list': ['webhookEndpoints.list', async () => {
    const {id} = await stripe.webhookEndpoints.create({url: hooks, enabled_events: ['*']});
    assert.deepEqual(ids(await stripe.webhookEndpoints.list({limit: 1})), [id]);
    await stripe.webhookEndpoints.del(id);
  }],
  'webhook_endpoints.delete': ['webhookEndpoints.del', async () => {
    const {id} = await stripe.webhookEndpoints.create({url: hooks, enabled_events: ['*']});
    assert.equal((await stripe.webhookEndpoints.del(id)).deleted, true);
    await fails(stripe.webhookEndpoints.retrieve(id), {is: E.StripeInvalidRequestError, statusCode: 404, code: 'resource_missing'});
  }],
};

const BEHAVIOURS = {
  'errors by class': async () => {
    const create = (params, options) => stripe.paymentIntents.create({...TEA, ...params}, options);
    await fails(create({amount: 0}), {is: E.StripeInvalidRequestError, param: 'amount', statusCode: 400});
    await fails(create({application_fee_amount: 1}), {is: E.StripeInvalidRequestError, param: 'application_fee_amount', code: 'parameter_unsupported'});
    await fails(create({tea: 'green'}), {is: E.StripeInvalidRequestError, param: 'tea', code: 'parameter_unknown'});
    await fails(create({capture_method: 'manual'}), {is: E.StripeInvalidRequestError, param: 'capture_method'});
    await fails(stripe.paymentIntents.retrieve('pi_00000000000000000000000000'), {is: E.StripeInvalidRequestError, statusCode: 404, code: 'resource_missing'});
    await fails(new Stripe('sk_test_wrong', at).customers.list(), {is: E.StripeAuthenticationError, statusCode: 401});
    await fails(new Stripe(task.reader, at).paymentIntents.create(TEA), {is: E.StripePermissionError, statusCode: 403});
    const idempotencyKey = `node-${Date.now()}`;
    await create({}, {idempotencyKey});
    await fails(create({amount: 2}, {idempotencyKey}), {is: E.StripeIdempotencyError, statusCode: 400});
    const declined = {...TEA, confirm: true, payment_method: 'pm_wechat_pay'};
    const error = await fails(new Stripe(task.declined, at).paymentIntents.create(declined), {is: E.StripeCardError, statusCode: 402, decline_code: 'processing_error'});
    assert.equal(error.payment_intent.status, 'requires_payment_method');
    assert.match(error.requestId, /^req_/);
  },
  'auto-pagination in both directions': async () => {
    const customer = (await stripe.customers.create({})).id;
    const made = [];
    for (let i = 0; i < 7; i++) made.unshift((await stripe.paymentIntents.create({...TEA, customer})).id);
    const forth = [];
    for await (const intent of stripe.paymentIntents.list({customer, limit: 3})) forth.push(intent.id);
    assert.deepEqual(forth, made);
    const back = await stripe.paymentIntents.list({customer, limit: 3, ending_before: made[6]}).autoPagingToArray({limit: 100});
    assert.deepEqual(back.map((i) => i.id), made.slice(0, 6).reverse());
  },
  'idempotent replay, byte for byte': async () => {
    const idempotencyKey = `node-replay-${Date.now()}`;
    const params = {...TEA, confirm: true, payment_method: 'pm_wechat_pay'};
    const one = await stripe.paymentIntents.create(params, {idempotencyKey});
    const two = await stripe.paymentIntents.create(params, {idempotencyKey});
    assert.equal(two.lastResponse.headers['idempotent-replayed'], 'true');
    assert.equal(JSON.stringify(two), JSON.stringify(one));
    assert.notEqual(two.lastResponse.requestId, one.lastResponse.requestId);
  },
  'webhook verification': async () => {
    const made = await stripe.webhookEndpoints.create({url: hooks, enabled_events: ['charge.succeeded']});
    const {id, latest_charge} = await paid();
    const said = await until(() => heard.find((h) => h.body.includes(latest_charge)));
    const signature = said.headers['stripe-signature'];
    const event = stripe.webhooks.constructEvent(said.body, signature, made.secret);
    assert.deepEqual([event.type, event.data.object.payment_intent], ['charge.succeeded', id]);
    const forged = Buffer.from(said.body.toString().replace('1250', '9250'));
    assert.throws(() => stripe.webhooks.constructEvent(forged, signature, made.secret), E.StripeSignatureVerificationError);
    const late = Date.now() + 301_000;
    assert.throws(() => stripe.webhooks.constructEvent(said.body, signature, made.secret, 300, undefined, late), E.StripeSignatureVerificationError);
    await stripe.webhookEndpoints.del(made.id);
  },
  'keys: secret, restricted, publishable': async () => {
    const made = await stripe.paymentIntents.create(TEA);
    assert.equal((await new Stripe(task.reader, at).paymentIntents.retrieve(made.id)).id, made.id);
    const browser = new Stripe(task.publishable, at);
    assert.equal((await browser.paymentIntents.retrieve(made.id, {client_secret: made.client_secret})).id, made.id);
    await fails(browser.paymentIntents.retrieve(made.id), {is: E.StripePermissionError});
    await fails(browser.customers.list(), {is: E.StripePermissionError});
  },
  'expand, four levels deep and in lists': async () => {
    const customer = (await stripe.customers.create({name: 'Han'})).id;
    await paid({customer});
    const page = await stripe.paymentIntents.list({customer, expand: ['data.latest_charge.customer']});
    assert.equal(page.data[0].latest_charge.customer.name, 'Han');
    await fails(stripe.paymentIntents.list({expand: ['data.amount']}), {is: E.StripeInvalidRequestError, param: 'expand'});
  },
};

const report = [];
async function note(name, call, conversation) {
  const result = await conversation().then(() => 'ok', (error) => `${error.name}: ${error.message}\n${error.stack}`);
  report.push({name, call, result});
}
for (const [name, [call, conversation]] of Object.entries(CALLS)) await note(name, call, conversation);
for (const [name, conversation] of Object.entries(BEHAVIOURS)) await note(name, '', conversation);
process.stdout.write(JSON.stringify(report));
door.close();
