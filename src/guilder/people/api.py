"""All calls of people."""

from guilder.people import api_roles, api_services, api_sessions, api_users

ROUTES = (*api_sessions.ROUTES, *api_users.ROUTES, *api_roles.ROUTES, *api_services.ROUTES)
