"""The domains, once, and what each contributes.  A new domain is a line in each list that it has something for."""

from guilder import cashier, notify
from guilder.cashier import personal as cashier_personal
from guilder.cashier import timeline as cashier_timeline
from guilder.channels.model import Subject
from guilder.disputes import api as disputes_api
from guilder.disputes import audits as disputes_audits
from guilder.disputes import events as disputes_events
from guilder.disputes import record as disputes_record
from guilder.disputes import store as disputes_store
from guilder.disputes import sweep as disputes_sweep
from guilder.disputes import timeline as disputes_timeline
from guilder.ledger import api as ledger_api
from guilder.ledger import audits as ledger_audits
from guilder.ledger import jobs as ledger_jobs
from guilder.ledger import manual
from guilder.ledger import timeline as ledger_timeline
from guilder.merchants import api as merchants_api
from guilder.merchants import api_channel_accounts, api_channels, api_stores, channel_accounts
from guilder.merchants import events as merchants_events
from guilder.merchants import jobs as merchants_jobs
from guilder.notify import audits as notify_audits
from guilder.notify import events as notify_events
from guilder.notify import personal as notify_personal
from guilder.notify import revealing
from guilder.notify import timeline as notify_timeline
from guilder.oversight import api_approvals, api_cases, api_trail, jobs_approvals
from guilder.oversight import cases as oversight_cases
from guilder.oversight import jobs as oversight_jobs
from guilder.payments import (
    api_balance,
    api_intents,
    api_methods,
    api_refunds,
    api_routing,
    aside,
    given_elsewhere,
    hook_steps,
    refund,
    sweep,
)
from guilder.payments import audits as payments_audits
from guilder.payments import events as payments_events
from guilder.payments import personal as payments_personal
from guilder.payments import timeline as payments_timeline
from guilder.payouts import api as payouts_api
from guilder.payouts import audits as payouts_audits
from guilder.payouts import create as payouts_create
from guilder.payouts import events as payouts_events
from guilder.payouts import record as payouts_record
from guilder.payouts import sweep as payouts_sweep
from guilder.payouts import timeline as payouts_timeline
from guilder.people import api as people_api
from guilder.people import jobs as people_jobs
from guilder.platform import audit, housekeeping, recorder, trail_seal
from guilder.platform.approval import Effect
from guilder.platform.audit import Audit
from guilder.platform.case import Resolver
from guilder.platform.jobs import Kind, Loop
from guilder.platform.outbox import Subscription, Witness
from guilder.platform.timeline import Part
from guilder.platform.web import Resource, Route
from guilder.reconciliation import decide as reconciliation_decide
from guilder.reconciliation import jobs as reconciliation_jobs
from guilder.reconciliation import timeline as reconciliation_timeline
from guilder.routing import api as routing_api
from guilder.routing import rulesets
from guilder.trades import api as trades_api
from guilder.trades import api_timeline, follow
from guilder.trades import audits as trades_audits
from guilder.trades import events as trades_events
from guilder.trades import refund as trades_refund
from guilder.trades import timeline as trades_timeline

# In layer order: what a schema refers to comes before it.
SCHEMAS = (
    "guilder.platform", "guilder.ledger", "guilder.merchants", "guilder.routing", "guilder.payments", "guilder.payouts", "guilder.disputes",
    "guilder.trades",
    "guilder.reconciliation", "guilder.notify", "guilder.cashier",
)  # fmt: skip
CONTROL = (("guilder.platform", "schema.sql"), ("guilder.merchants", "control.sql"), ("guilder.people", "schema.sql"))

ROUTES: tuple[Route, ...] = (
    *api_intents.ROUTES, *api_refunds.ROUTES, *api_balance.ROUTES, *merchants_api.ROUTES, *api_methods.ROUTES, *cashier.ROUTES, *notify.ROUTES,
    *ledger_api.ROUTES,
    *api_trail.ROUTES,
    *api_cases.ROUTES,
    *people_api.ROUTES,
    *api_channel_accounts.ROUTES, *api_approvals.ROUTES,
    *payouts_api.ROUTES, *disputes_api.ROUTES,
    *trades_api.ROUTES, *api_timeline.ROUTES,
    *routing_api.ROUTES, *api_routing.ROUTES,
    *api_stores.ROUTES,
    *api_channels.ROUTES,
)  # fmt: skip
RESOURCES: tuple[Resource, ...] = (
    *api_refunds.RESOURCES, *merchants_api.RESOURCES, *api_methods.RESOURCES, *cashier.RESOURCES,
    *trades_api.RESOURCES,
)  # fmt: skip
SUBSCRIPTIONS: tuple[Subscription, ...] = (*cashier.SUBSCRIPTIONS, *follow.SUBSCRIPTIONS)
WITNESSES: tuple[Witness, ...] = (*notify.WITNESSES,)
AUDITS: tuple[Audit, ...] = (
    *audit.OWN,
    *ledger_audits.AUDITS,
    *payments_audits.AUDITS,
    *payouts_audits.AUDITS,
    *disputes_audits.AUDITS,
    *notify_audits.AUDITS,
    *trades_audits.AUDITS,
)
LOOPS: tuple[Loop, ...] = (
    *ledger_jobs.LOOPS, *sweep.LOOPS, *hook_steps.LOOPS, *reconciliation_jobs.LOOPS, *notify.LOOPS, *housekeeping.LOOPS, *audit.loops(AUDITS),
    *trail_seal.LOOPS,
    *oversight_jobs.LOOPS, *jobs_approvals.LOOPS,
    *payouts_sweep.LOOPS,
    *disputes_sweep.LOOPS,
)  # fmt: skip
CONTROL_LOOPS: tuple[Loop, ...] = (
    *trail_seal.LOOPS,
    *housekeeping.CONTROL_LOOPS,
    *people_jobs.CONTROL_LOOPS,
)  # over the control database
KINDS: tuple[Kind, ...] = (*reconciliation_jobs.KINDS, *merchants_jobs.KINDS)
EVENTS: dict[str, str] = {
    **payments_events.CATALOGUE,
    **payouts_events.CATALOGUE,
    **disputes_events.CATALOGUE,
    **trades_events.CATALOGUE,
    **merchants_events.CATALOGUE,
    **cashier.CATALOGUE,
    **notify_events.CATALOGUE,
}
CASE_RESOLVERS: tuple[Resolver, ...] = (
    *oversight_cases.RESOLVERS,
    *aside.RESOLVERS,
    *given_elsewhere.RESOLVERS,
)  # the ways in which cases end
CASE_ENDINGS = reconciliation_decide.ENDINGS  # what ends with them
TIMELINE: tuple[Part, ...] = (  # who knows what happened
    *trades_timeline.TIMELINE, *cashier_timeline.TIMELINE, *payments_timeline.TIMELINE, *payouts_timeline.TIMELINE, *disputes_timeline.TIMELINE, *ledger_timeline.TIMELINE, *recorder.TIMELINE, *notify_timeline.TIMELINE,
    *reconciliation_timeline.TIMELINE,
)  # fmt: skip
PERSONS = (payments_personal.PART, cashier_personal.PART, notify_personal.PART)  # who keeps something of persons
DOORS = {
    Subject.PAYOUT: payouts_record.hear_notice,
    Subject.DISPUTE: disputes_record.hear_notice,
}  # who hears of what is no payment and no refund
REFUND_BARS = (disputes_store.bar_refunds,)  # what else keeps a charge from being refunded
PAYMENTS_OF = payments_personal.payments_of
CUSTOMER_STEPS = api_methods.STEPS  # what else goes when a customer goes
APPROVALS: dict[str, Effect | None] = {  # what is done when all have agreed; None: its maker claims it
    refund.KIND: refund.give_back, manual.KIND: manual.post_approved, channel_accounts.KIND: channel_accounts.change_approved,
    revealing.KIND: None,
    payouts_create.KIND: payouts_create.pay_out,
    trades_refund.KIND: trades_refund.give_back,
    rulesets.KIND: rulesets.activate_approved,
    aside.KIND: aside.write_off,
    given_elsewhere.KIND: given_elsewhere.mark,
}  # fmt: skip
