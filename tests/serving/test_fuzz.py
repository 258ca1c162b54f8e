"""Whatever is sent that the OpenAPI document allows, or nearly allows: no error of the service's own."""

import os

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from earful.tagger import Tagger
from serving.app import create
from serving.settings import ServeSettings

SOON = (503, 504)  # more than can be answered, and a deadline of no time at all
CHECKS = [content_type_conformance, response_schema_conformance]
EXAMPLES = int(os.environ.get("EARFUL_FUZZ_EXAMPLES", "15"))  # of each operation; 1700 make about 10,000 in all


def test_nothing_that_is_sent_breaks_the_service(tagger: Tagger) -> None:
    service = create(tagger, ServeSettings(log_requests=False, zendesk_secret="s", chatwoot_token="t"))
    document = schemathesis.openapi.from_asgi("/openapi.json", service)
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) >= 15
    for operation in operations:

        @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def holds(case: schemathesis.Case) -> None:
            response = case.call()
            assert response.status_code < 500 or response.status_code in SOON, case.as_curl_command()
            case.validate_response(response, checks=CHECKS)

        holds()
