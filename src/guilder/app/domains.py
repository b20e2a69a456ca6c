"""The domains, once, and what each contributes.  A new domain is a line in each list that it has something for."""

from guilder import cashier, notify
from guilder.cashier import personal as cashier_personal
from guilder.ledger import api as ledger_api
from guilder.ledger import audits as ledger_audits
from guilder.ledger import jobs as ledger_jobs
from guilder.ledger import manual
from guilder.merchants import api as merchants_api
from guilder.merchants import api_channel_accounts, channel_accounts
from guilder.merchants import events as merchants_events
from guilder.merchants import jobs as merchants_jobs
from guilder.notify import audits as notify_audits
from guilder.notify import events as notify_events
from guilder.notify import personal as notify_personal
from guilder.notify import revealing
from guilder.oversight import api_approvals, api_cases, api_trail, jobs_approvals
from guilder.oversight import cases as oversight_cases
from guilder.oversight import jobs as oversight_jobs
from guilder.payments import api_balance, api_intents, api_methods, api_refunds, refund, suspense, sweep
from guilder.payments import audits as payments_audits
from guilder.payments import events as payments_events
from guilder.payments import personal as payments_personal
from guilder.people import api as people_api
from guilder.people import jobs as people_jobs
from guilder.platform import audit, housekeeping, trail_seal
from guilder.platform.approval import Effect
from guilder.platform.audit import Audit
from guilder.platform.case import Resolver
from guilder.platform.jobs import Kind, Loop
from guilder.platform.outbox import Subscription, Witness
from guilder.platform.web import Resource, Route
from guilder.reconciliation import jobs as reconciliation_jobs

# In layer order: what a schema refers to comes before it.
SCHEMAS = (
    "guilder.platform", "guilder.ledger", "guilder.merchants", "guilder.payments",
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
)  # fmt: skip
RESOURCES: tuple[Resource, ...] = (
    *api_refunds.RESOURCES, *merchants_api.RESOURCES, *api_methods.RESOURCES, *cashier.RESOURCES,
)  # fmt: skip
SUBSCRIPTIONS: tuple[Subscription, ...] = (*cashier.SUBSCRIPTIONS,)
WITNESSES: tuple[Witness, ...] = (*notify.WITNESSES,)
AUDITS: tuple[Audit, ...] = (*audit.OWN, *ledger_audits.AUDITS, *payments_audits.AUDITS, *notify_audits.AUDITS)
LOOPS: tuple[Loop, ...] = (
    *ledger_jobs.LOOPS, *sweep.LOOPS, *reconciliation_jobs.LOOPS, *notify.LOOPS, *housekeeping.LOOPS, *audit.loops(AUDITS),
    *trail_seal.LOOPS,
    *oversight_jobs.LOOPS, *jobs_approvals.LOOPS,
)  # fmt: skip
CONTROL_LOOPS: tuple[Loop, ...] = (
    *trail_seal.LOOPS,
    *housekeeping.CONTROL_LOOPS,
    *people_jobs.CONTROL_LOOPS,
)  # over the control database
KINDS: tuple[Kind, ...] = (*reconciliation_jobs.KINDS, *merchants_jobs.KINDS)
EVENTS: dict[str, str] = {
    **payments_events.CATALOGUE,
    **merchants_events.CATALOGUE,
    **cashier.CATALOGUE,
    **notify_events.CATALOGUE,
}
CASE_RESOLVERS: tuple[Resolver, ...] = (*oversight_cases.RESOLVERS, *suspense.RESOLVERS)  # the ways in which cases end
PERSONS = (payments_personal.PART, cashier_personal.PART, notify_personal.PART)  # who keeps something of persons
PAYMENTS_OF = payments_personal.payments_of
CUSTOMER_STEPS = api_methods.STEPS  # what else goes when a customer goes
APPROVALS: dict[str, Effect | None] = {  # what is done when all have agreed; None: its maker claims it
    refund.KIND: refund.give_back, manual.KIND: manual.post_approved, channel_accounts.KIND: channel_accounts.change_approved,
    revealing.KIND: None,
}  # fmt: skip
