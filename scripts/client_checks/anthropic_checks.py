"""Checks with the anthropic package, sync and async."""

import asyncio
import json

import anthropic

from client_checks.common import (
    CLIENT, MESSAGES_TOOL, PROMPT, ROOM, Verdict, Weather, error_of, same, too_long, user,
)


class Anthropic:
    def __init__(self, pipeline, model):
        self._pipeline = pipeline
        self._client = anthropic.Anthropic(base_url=pipeline.url, **CLIENT)
        self._ask = {"model": model, "max_tokens": 24, "messages": user(PROMPT), "extra_body": {"temperature": 0}}
        self._call = {**self._ask, "max_tokens": ROOM, "tools": [MESSAGES_TOOL], "tool_choice": {"type": "any"}}

    def events_of_a_stream_add_up_to_the_message(self):
        whole = self._client.messages.create(**self._ask)
        with self._client.messages.stream(**self._ask) as stream:
            events = list(stream)
            final = stream.get_final_message()
        text = whole.content[0].text
        same("".join(event.text for event in events if event.type == "text"), text)
        same([e.content_block.text for e in events if e.type == "content_block_stop"], [text])
        same(events[-1].message.content[0].text, text)
        same((final.stop_reason, final.usage.output_tokens), (whole.stop_reason, whole.usage.output_tokens))

    def a_stop_sequence_is_told(self):
        text = self._client.messages.create(**self._ask).content[0].text
        cut = self._client.messages.create(**self._ask, stop_sequences=[text[3:6]])
        same((cut.stop_reason, cut.stop_sequence), ("stop_sequence", text[3:6]))
        same(cut.content[0].text if cut.content else "", text[: text.index(text[3:6])])

    async def async_streams_have_the_same_text(self):
        whole = self._client.messages.create(**self._ask).content[0].text

        async def text(client):
            async with client.messages.stream(**self._ask) as stream:
                return "".join([part async for part in stream.text_stream])

        async with anthropic.AsyncAnthropic(base_url=self._pipeline.url, **CLIENT) as client:
            same((await client.messages.create(**self._ask)).content[0].text, whole)
            same(await asyncio.gather(*(text(client) for _ in range(4))), [whole] * 4)

    def the_beta_interface_is_the_same(self):
        whole = self._client.messages.create(**self._ask).content[0].text
        same(self._client.beta.messages.create(**self._ask).content[0].text, whole)

    def raw_answers_have_headers(self):
        raw = self._client.messages.with_raw_response.create(**self._ask)
        same(raw.http_response.status_code, 200)
        same(raw.parse()._request_id, raw.headers["request-id"])

    def an_answer_is_parsed_into_an_object(self):
        message = self._client.messages.parse(**{**self._ask, "max_tokens": ROOM}, output_format=Verdict)
        assert isinstance(message.parsed_output, Verdict), message

    def tools_are_called(self):
        for choice in [{"type": "any"}, {"type": "tool", "name": "get_weather"}]:
            message = self._client.messages.create(**{**self._call, "tool_choice": choice})
            same(message.stop_reason, "tool_use")
            same({block.type for block in message.content}, {"tool_use"})
            for block in message.content:
                same(block.name, "get_weather")
                Weather.model_validate(block.input)
            same(len({block.id for block in message.content}), len(message.content))

    def one_call_alone_can_be_wanted(self):
        choice = {"type": "any", "disable_parallel_tool_use": True}
        message = self._client.messages.create(**{**self._call, "tool_choice": choice})
        same([block.type for block in message.content], ["tool_use"])

    def a_call_in_a_stream_adds_up(self):
        with self._client.messages.stream(**self._call) as stream:
            events = list(stream)
            final = stream.get_final_message()
        same(final.stop_reason, "tool_use")
        starts = [(e.index, e.content_block.type) for e in events if e.type == "content_block_start"]
        same(starts, [(index, "tool_use") for index in range(len(final.content))])
        for index, block in enumerate(final.content):
            deltas = [e.delta for e in events if e.type == "content_block_delta" and e.index == index]
            same(json.loads("".join(delta.partial_json for delta in deltas)), block.input)
            Weather.model_validate(block.input)

    def tools_may_be_left_alone(self):
        message = self._client.messages.create(**{**self._call, "tool_choice": {"type": "none"}})
        same({block.type for block in message.content}, {"text"})

    def a_result_of_a_tool_is_read(self):
        call = self._client.messages.create(**self._call)
        ask = {**self._call, "max_tokens": 8, "tool_choice": {"type": "auto"}}
        before = input_tokens(self._client.messages.create(**ask).usage)
        for result in [
            {"content": "It rains."},
            {"content": [{"type": "text", "text": "It rains."}]},
            {"content": "There is no such city.", "is_error": True},
        ]:
            results = [{"type": "tool_result", "tool_use_id": block.id, **result} for block in call.content]
            turns = [{"role": "assistant", "content": call.content}, {"role": "user", "content": results}]
            after = input_tokens(self._client.messages.create(**{**ask, "messages": user(PROMPT) + turns}).usage)
            assert after > before, (after, before)

    def tools_are_counted(self):
        ask = {key: self._call[key] for key in ("model", "messages", "tools")}
        plain = self._client.messages.count_tokens(model=ask["model"], messages=ask["messages"]).input_tokens
        count = self._client.messages.count_tokens(**ask).input_tokens
        assert count > plain, (count, plain)
        same(count, input_tokens(self._client.messages.create(**{**self._ask, "tools": [MESSAGES_TOOL]}).usage))

    def a_prompt_that_is_too_long_is_told_as_that(self):
        ask = {**self._ask, "messages": user(too_long(self._pipeline))}
        error = error_of(anthropic.BadRequestError, self._client.messages.create, **ask).body["error"]
        same(error["type"], "invalid_request_error")
        # Anthropic's own words, by which agents know that they have to shorten the conversation.
        assert error["message"].startswith("prompt is too long: "), error

    def another_model_is_not_found(self):
        ask = {**self._ask, "model": "another"}
        error = error_of(anthropic.NotFoundError, self._client.messages.create, **ask)
        same(error.body["error"]["type"], "not_found_error")


def input_tokens(usage):
    return usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
