"""Oversight: what people decide and look into, by API and command line: approvals, cases, the trail."""
