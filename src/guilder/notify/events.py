"""The catalogue of events that are said of webhook endpoints."""

CATALOGUE: dict[str, str] = {
    "webhook_endpoint.disabled": "An endpoint answered 410, or failed for days: nothing more is sent to it until it is enabled again.",
}
