"""Checks with LiteLLM."""

import asyncio

import litellm

from client_checks.common import PROMPT, ROOM, TOOL, Person, Weather, error_of, same, too_long, user


class LiteLLM:
    def __init__(self, pipeline, model):
        litellm.suppress_debug_info = True
        self._pipeline = pipeline
        self._openai = {"model": f"openai/{model}", "api_base": f"{pipeline.url}/v1", "api_key": "none"}
        self._anthropic = {"model": f"anthropic/{model}", "api_base": pipeline.url, "api_key": "none"}
        self._ask = {"messages": user(PROMPT), "max_tokens": 24, "temperature": 0, "num_retries": 0, "timeout": 60}
        self._call = {**self._ask, "max_tokens": ROOM, "tools": [TOOL], "tool_choice": "required"}
        self._call["parallel_tool_calls"] = False

    def a_chat_is_answered(self):
        answer = litellm.completion(**self._openai, **self._ask)
        assert answer.choices[0].message.content
        assert 0 < answer.usage.completion_tokens <= 24, answer.usage

    def a_stream_has_the_same_text(self):
        for interface in (self._openai, self._anthropic):
            whole = litellm.completion(**interface, **self._ask)
            ask = {**self._ask, "stream": True, "stream_options": {"include_usage": True}}
            built = litellm.stream_chunk_builder(list(litellm.completion(**interface, **ask)))
            same(built.choices[0].message.content, whole.choices[0].message.content)
            same(built.choices[0].finish_reason, whole.choices[0].finish_reason)
            same(built.usage.completion_tokens, whole.usage.completion_tokens)

    async def async_requests_have_the_same_text(self):
        whole = litellm.completion(**self._openai, **self._ask).choices[0].message.content
        answers = await asyncio.gather(*(litellm.acompletion(**self._openai, **self._ask) for _ in range(4)))
        same([answer.choices[0].message.content for answer in answers], [whole] * 4)
        stream = await litellm.acompletion(**self._openai, **self._ask, stream=True)
        same("".join([chunk.choices[0].delta.content or "" async for chunk in stream]), whole)

    def a_text_is_continued(self):
        ask = {**self._openai, "model": self._openai["model"].replace("openai/", "text-completion-openai/")}
        assert litellm.text_completion(**ask, prompt=PROMPT, max_tokens=8, temperature=0).choices[0].text

    def a_tool_is_called(self):
        for interface in (self._openai, self._anthropic):
            self._check_call(litellm.completion(**interface, **self._call))

    def a_call_comes_in_a_stream(self):
        for interface in (self._openai, self._anthropic):
            chunks = list(litellm.completion(**interface, **self._call, stream=True))
            self._check_call(litellm.stream_chunk_builder(chunks))

    def _check_call(self, answer):
        same(answer.choices[0].finish_reason, "tool_calls")
        call, = answer.choices[0].message.tool_calls
        same(call.function.name, "get_weather")
        Weather.model_validate_json(call.function.arguments)

    def an_answer_has_the_wanted_form(self):
        ask = {**self._ask, "max_tokens": ROOM, "response_format": Person}
        Person.model_validate_json(litellm.completion(**self._openai, **ask).choices[0].message.content)

    def a_response_is_given(self):
        response = litellm.responses(**self._openai, input=PROMPT, max_output_tokens=16, temperature=0, store=False)
        assert response.output[0].content[0].text

    def a_prompt_that_is_too_long_is_told_as_that(self):
        for interface in (self._openai, self._anthropic):
            ask = {**interface, **self._ask, "messages": user(too_long(self._pipeline))}
            error_of(litellm.ContextWindowExceededError, litellm.completion, **ask)

    def another_model_is_not_found(self):
        for interface, name in ((self._openai, "openai/another"), (self._anthropic, "anthropic/another")):
            error_of(litellm.NotFoundError, litellm.completion, **{**interface, "model": name}, **self._ask)
