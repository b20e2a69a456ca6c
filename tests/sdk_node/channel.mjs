// The official stripe package as a merchant of the Stripe simulator: what tests/clients/stripe_client.py does, in short.
//
//   GUILDER='{"url": "http://127.0.0.1:8002", "config": {…}}' node channel.mjs
//
// Prints one JSON array: {operation, call, result}; result is "ok" or what went wrong.

import assert from 'node:assert/strict';
import {createServer} from 'node:http';
import Stripe from 'stripe';

const task = JSON.parse(process.env.GUILDER);
const place = new URL(task.url);
const stripe = new Stripe(task.config.secret_key, {
  host: place.hostname, port: Number(place.port), protocol: 'http', maxNetworkRetries: 0, telemetry: false,
});
const TEA = {amount: 1250, currency: 'cny', payment_method_types: ['card']};

const heard = [];
const door = createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    heard.push({body: Buffer.concat(chunks), signature: request.headers['stripe-signature']});
    response.end('ok');
  });
});
await new Promise((resolve) => door.listen(0, '127.0.0.1', resolve));

async function told(type, id) {
  const deadline = Date.now() + 10_000;
  for (;;) {
    for (const {body, signature} of heard) {
      const event = stripe.webhooks.constructEvent(body, signature, task.config.webhook_secret);
      assert.throws(() => stripe.webhooks.constructEvent(body, signature, 'whsec_other'));
      if (event.type === type && event.data.object.id === id) return event.data.object;
    }
    assert(Date.now() < deadline, `${type} of ${id} did not come`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function refused(act, expected) {
  try {
    await act();
  } catch (error) {
    for (const [name, value] of Object.entries(expected)) assert.equal(error[name], value);
    return error;
  }
  throw new Error('it was accepted');
}

async function sim(path, body) {
  const reply = await fetch(task.url + path, {method: 'POST', body: JSON.stringify(body)});
  assert.equal(reply.status, 200);
  return reply.json();
}

const paid = (more = {}) => stripe.paymentIntents.create({...TEA, confirm: true, payment_method: 'pm_card_visa', ...more});

const STEPS = {
  'endpoint': ['webhookEndpoints.create()', async () => {
    const url = `http://127.0.0.1:${door.address().port}/`;
    const made = await stripe.webhookEndpoints.create({url, enabled_events: ['*']});
    assert.equal(made.secret, task.config.webhook_secret);
  }],
  'create, confirm, event': ['paymentIntents.create(), confirm()', async () => {
    const made = await stripe.paymentIntents.create({...TEA, metadata: {order_id: '6735'}});
    const done = await stripe.paymentIntents.confirm(made.id, {payment_method: 'pm_card_visa'});
    assert.equal(done.status, 'succeeded');
    assert.equal((await told('payment_intent.succeeded', made.id)).metadata.order_id, '6735');
  }],
  'create repeated: the same intent': ['idempotencyKey', async () => {
    const one = await stripe.paymentIntents.create(TEA, {idempotencyKey: 'node-1'});
    const two = await stripe.paymentIntents.create(TEA, {idempotencyKey: 'node-1'});
    assert.equal(one.id, two.id);
    const other = () => stripe.paymentIntents.create({...TEA, amount: 999}, {idempotencyKey: 'node-1'});
    await refused(other, {type: 'StripeIdempotencyError', statusCode: 400});
  }],
  'declined': ['paymentIntents.create(confirm)', async () => {
    const token = 'pm_card_chargeDeclined';
    const error = await refused(() => paid({payment_method: token}), {type: 'StripeCardError', code: 'card_declined'});
    assert.equal(error.payment_intent.status, 'requires_payment_method');
  }],
  '3-D Secure': ['next_action.redirect_to_url', async () => {
    const made = await paid({payment_method: 'pm_card_threeDSecure2Required', return_url: 'https://shop.example/back'});
    await sim('/sim/pay', {code: made.next_action.redirect_to_url.url});
    assert.equal((await stripe.paymentIntents.retrieve(made.id)).status, 'succeeded');
  }],
  'held and captured in part': ['paymentIntents.capture()', async () => {
    const held = await paid({capture_method: 'manual'});
    assert.equal(held.status, 'requires_capture');
    const done = await stripe.paymentIntents.capture(held.id, {amount_to_capture: 1000});
    assert.equal(done.amount_received, 1000);
  }],
  'cancel': ['paymentIntents.cancel()', async () => {
    const made = await stripe.paymentIntents.create(TEA);
    assert.equal((await stripe.paymentIntents.cancel(made.id)).status, 'canceled');
    await refused(() => stripe.paymentIntents.cancel(made.id), {code: 'payment_intent_unexpected_state'});
  }],
  'refund': ['refunds.create(), retrieve()', async () => {
    const made = await paid();
    const back = await stripe.refunds.create({payment_intent: made.id, amount: 250});
    assert.equal((await stripe.refunds.retrieve(back.id)).status, 'succeeded');
    await told('refund.updated', back.id);
  }],
  'a dispute won': ['disputes.update(submit)', async () => {
    const made = await paid({payment_method: 'pm_card_createDispute'});
    const {data: [one]} = await stripe.disputes.list({payment_intent: made.id});
    await stripe.disputes.update(one.id, {evidence: {uncategorized_text: 'winning_evidence'}, submit: true});
    assert.equal((await told('charge.dispute.closed', one.id)).status, 'won');
  }],
  'payout': ['payouts.create(), retrieve()', async () => {
    const made = await stripe.payouts.create({amount: 1000, currency: 'cny'});
    await told('payout.paid', made.id);
    assert.equal((await stripe.payouts.retrieve(made.id)).status, 'paid');
  }],
  'balance transactions': ['balanceTransactions.list()', async () => {
    const kinds = new Set();
    for await (const one of stripe.balanceTransactions.list({limit: 2})) kinds.add(one.reporting_category);
    assert(kinds.has('charge') && kinds.has('refund') && kinds.has('dispute'));
  }],
};

const rows = [];
for (const [operation, [call, act]] of Object.entries(STEPS)) {
  let result = 'ok';
  await act().catch((error) => (result = `${error}`));
  rows.push({operation, call, result});
}
door.close();
door.closeAllConnections();
console.log(JSON.stringify(rows));
