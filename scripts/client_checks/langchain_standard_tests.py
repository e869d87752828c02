"""LangChain's own tests of a chat model, for pytest: scripts/test-clients runs them against its front door.

TRESTLE_URL and TRESTLE_MODEL name the server and its model. TRESTLE_BIAS is what is added to the logits where an
answer must have a form: the demo model, which has seen no quotation mark, would end no string by itself.
"""

import json
import os

from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests


class Chat(ChatOpenAI):
    def _get_request_payload(self, *arguments, **options):
        payload = super()._get_request_payload(*arguments, **options)
        if "TRESTLE_BIAS" in os.environ and ("response_format" in payload or "tool_choice" in payload):
            payload["logit_bias"] = json.loads(os.environ["TRESTLE_BIAS"])
        return payload


class TestTrestle(ChatModelIntegrationTests):
    @property
    def chat_model_class(self):
        return Chat

    @property
    def chat_model_params(self):
        return {
            "model": os.environ["TRESTLE_MODEL"],
            "base_url": os.environ["TRESTLE_URL"],
            "api_key": "none",
            "max_retries": 0,
            "max_tokens": 400,
            # At another address than OpenAI's, usage is wanted in streams only if that is said.
            "stream_usage": True,
            "seed": 1,
            "model_kwargs": {"parallel_tool_calls": False},
        }

    @property
    def supports_json_mode(self):
        return True

    @property
    def supports_anthropic_inputs(self):
        return True

    @property
    def model_override_value(self):
        return os.environ["TRESTLE_MODEL"]
