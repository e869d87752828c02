"""Checks with the openai package, sync and async."""

import asyncio
import tempfile
from contextlib import closing
from pathlib import Path

import httpx
import openai

from http_pipeline import Pipeline
from client_checks.common import (
    CLIENT, PROMPT, RESPONSES_TOOL, ROOM, TOOL, Person, Weather, error_of, full_queue, same, too_long, user,
    wait_until_idle,
)


class OpenAI:
    """Both of OpenAI's interfaces, with its package: what goes beyond plain requests."""

    def __init__(self, pipeline, model):
        self._pipeline = pipeline
        self._client = openai.OpenAI(base_url=f"{pipeline.url}/v1", **CLIENT)
        self._chat = {"model": model, "messages": user(PROMPT), "max_tokens": ROOM, "temperature": 1, "seed": 1}
        # The helpers refuse an answer that its limit has cut.
        self._line = {**self._chat, "stop": [".", ",", "\n"]}
        self._response = {
            "model": model, "input": PROMPT, "max_output_tokens": ROOM, "temperature": 0, "store": False}

    def events_of_a_stream_add_up_to_the_answer(self):
        whole = self._client.chat.completions.create(**self._line).choices[0]
        same(whole.finish_reason, "stop")
        with self._client.chat.completions.stream(**self._line, logprobs=True) as stream:
            events = list(stream)
            final = stream.get_final_completion()
        text = whole.message.content
        same("".join(e.delta for e in events if e.type == "content.delta"), text)
        same([e.content for e in events if e.type == "content.done"], [text])
        same(final.choices[0].message.content, text)
        scored = [token for e in events if e.type == "logprobs.content.delta" for token in e.content]
        same([e.content for e in events if e.type == "logprobs.content.done"], [scored])

    def an_answer_is_parsed_into_an_object(self):
        choices = self._client.chat.completions.parse(**self._chat, n=3, response_format=Person).choices
        same([type(choice.message.parsed) for choice in choices], [Person] * 3)

    def a_stream_is_parsed_into_an_object(self):
        with self._client.chat.completions.stream(**self._chat, response_format=Person) as stream:
            done = [event for event in stream if event.type == "content.done"]
            final = stream.get_final_completion().choices[0].message.parsed
        assert isinstance(final, Person), final
        same([event.parsed for event in done], [final])

    def an_answer_that_is_cut_is_no_object(self):
        ask = {**self._chat, "max_tokens": 3, "response_format": Person}
        error_of(openai.LengthFinishReasonError, self._client.chat.completions.parse, **ask)

    def arguments_of_a_call_are_parsed(self):
        choice = self._client.chat.completions.parse(**self._chat, tools=[TOOL], tool_choice="required").choices[0]
        assert choice.message.tool_calls
        for call in choice.message.tool_calls:
            assert isinstance(call.function.parsed_arguments, Weather), call

    def a_call_in_a_stream_is_parsed(self):
        ask = {**self._chat, "parallel_tool_calls": False, "tool_choice": "required"}
        with self._client.chat.completions.stream(**ask, tools=[TOOL]) as stream:
            events = list(stream)
            call = stream.get_final_completion().choices[0].message.tool_calls[0]
        deltas = [e.arguments_delta for e in events if e.type == "tool_calls.function.arguments.delta"]
        done = [e for e in events if e.type == "tool_calls.function.arguments.done"]
        same("".join(deltas), call.function.arguments)
        same([(e.name, e.parsed_arguments) for e in done], [("get_weather", call.function.parsed_arguments)])
        assert isinstance(call.function.parsed_arguments, Weather)

    def tools_go_together_with_a_form_of_the_answer(self):
        ask = {**self._chat, "tools": [TOOL], "response_format": Person}
        for choice in ("none", "auto", "required"):
            message = self._client.chat.completions.parse(**ask, tool_choice=choice).choices[0].message
            assert message.tool_calls or choice != "required", message
            for call in message.tool_calls or []:
                assert isinstance(call.function.parsed_arguments, Weather), call
            assert message.tool_calls or isinstance(message.parsed, Person), message

    def a_result_of_a_tool_is_read(self):
        message = self._client.chat.completions.create(
            **self._chat, tools=[TOOL], tool_choice="required", parallel_tool_calls=False).choices[0].message
        result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "It rains."}
        ask = {**self._chat, "tools": [TOOL], "tool_choice": "auto", "max_tokens": 8}
        before = self._client.chat.completions.create(**ask).usage.prompt_tokens
        ask["messages"] = user(PROMPT) + [message, result]
        assert self._client.chat.completions.create(**ask).usage.prompt_tokens > before

    def raw_answers_have_headers(self):
        raw = self._client.chat.completions.with_raw_response.create(**self._line)
        same(raw.http_response.status_code, 200)
        assert raw.headers["content-type"].startswith("application/json"), raw.headers
        same(raw.parse()._request_id, raw.headers["x-request-id"])

    def raw_streams_have_lines(self):
        with self._client.chat.completions.with_streaming_response.create(**self._line, stream=True) as raw:
            assert raw.headers["content-type"].startswith("text/event-stream"), raw.headers
            lines = [line for line in raw.iter_lines() if line]
        assert all(line.startswith(("data: ", ":")) for line in lines), lines
        same(lines[-1], "data: [DONE]")

    def another_model_is_not_found(self):
        ask = {**self._chat, "model": "another"}
        error = error_of(openai.NotFoundError, self._client.chat.completions.create, **ask)
        same((error.code, error.type), ("model_not_found", "invalid_request_error"))

    def a_prompt_that_is_too_long_has_its_code(self):
        ask = {**self._chat, "messages": user(too_long(self._pipeline))}
        error = error_of(openai.BadRequestError, self._client.chat.completions.create, **ask)
        same(error.code, "context_length_exceeded")

    def a_wrong_key_is_refused(self):
        with tempfile.TemporaryDirectory() as directory:
            keys = Path(directory, "keys")
            keys.write_text("right\n")
            with closing(self._pipeline.open_door("--api-key-file", str(keys))) as door:
                client = openai.OpenAI(base_url=f"{door.url}/v1", **{**CLIENT, "api_key": "wrong"})
                same(error_of(openai.AuthenticationError, client.models.list).code, "invalid_api_key")
                assert list(client.with_options(api_key="right").models.list())

    def a_full_queue_is_429_and_tried_again(self):
        statuses = []

        def seen(answer):
            statuses.append(answer.status_code)
            release()

        ask = {**self._chat, "max_tokens": 1}
        with full_queue(self._pipeline) as release:
            error = error_of(openai.RateLimitError, self._client.chat.completions.create, **ask)
            assert int(error.response.headers["retry-after"]) >= 1, error.response.headers
            same(error.type, "rate_limit_error")
            with httpx.Client(event_hooks={"response": [seen]}) as http:
                patient = self._client.with_options(max_retries=5, http_client=http)
                assert patient.chat.completions.create(**ask).choices
        same((statuses[0], statuses[-1]), (429, 200))

    def a_response_is_parsed_into_an_object(self):
        parsed = self._client.responses.parse(**self._response, text_format=Person).output_parsed
        assert isinstance(parsed, Person), parsed

    def events_of_a_response_add_up_to_it(self):
        with self._client.responses.stream(**self._response, text_format=Person) as stream:
            events = list(stream)
            final = stream.get_final_response()
        same("".join(e.delta for e in events if e.type == "response.output_text.delta"), final.output_text)
        same([e.parsed for e in events if e.type == "response.output_text.done"], [final.output_parsed])
        assert isinstance(final.output_parsed, Person), final
        same(events[-1].type, "response.completed")

    def a_response_calls_a_function(self):
        for choice in ["required", {"type": "function", "name": "get_weather"}]:
            response = self._client.responses.create(
                **self._response, tools=[RESPONSES_TOOL], tool_choice=choice, parallel_tool_calls=False)
            same([item.type for item in response.output], ["function_call"])
            call = response.output[0]
            same((call.name, call.status, response.status), ("get_weather", "completed", "completed"))
            Weather.model_validate_json(call.arguments)

    def arguments_of_a_response_are_parsed(self):
        response = self._client.responses.parse(**self._response, tools=[TOOL], tool_choice="required")
        assert response.output
        for call in response.output:
            assert isinstance(call.parsed_arguments, Weather), call

    def a_call_in_a_stream_of_a_response_adds_up(self):
        ask = {**self._response, "tool_choice": "required", "parallel_tool_calls": False}
        with self._client.responses.stream(**ask, tools=[RESPONSES_TOOL]) as stream:
            events = list(stream)
            call = stream.get_final_response().output[0]
        deltas = [e for e in events if e.type == "response.function_call_arguments.delta"]
        added = [e.item for e in events if e.type == "response.output_item.added"]
        same("".join(e.delta for e in deltas), call.arguments)
        same([e.arguments for e in events if e.type == "response.function_call_arguments.done"], [call.arguments])
        same([(item.type, item.name) for item in added], [("function_call", "get_weather")])
        same((added[0].call_id, {e.item_id for e in deltas}), (call.call_id, {call.id}))
        same([e.sequence_number for e in events], list(range(len(events))))

    def a_result_of_a_function_is_read(self):
        ask = {**self._response, "tools": [RESPONSES_TOOL], "max_output_tokens": 16}
        call = self._client.responses.create(
            **{**ask, "max_output_tokens": ROOM}, tool_choice="required", parallel_tool_calls=False).output[0]
        before = self._client.responses.create(**ask).usage.input_tokens
        ask["input"] = user(PROMPT) + [
            call, {"type": "function_call_output", "call_id": call.call_id, "output": "It rains."}]
        assert self._client.responses.create(**ask).usage.input_tokens > before


class AsyncOpenAI:
    def __init__(self, pipeline, model):
        self._pipeline = pipeline
        self._chat = {"model": model, "messages": user(PROMPT), "max_tokens": 24, "temperature": 1}

    def _client(self, pipeline=None):
        return openai.AsyncOpenAI(base_url=f"{(pipeline or self._pipeline).url}/v1", **CLIENT)

    async def _text(self, client, seed):
        stream = await client.chat.completions.create(**self._chat, seed=seed, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def streams_at_once_have_the_texts_of_each_alone(self):
        async with self._client() as client:
            alone = [await self._text(client, seed) for seed in range(6)]
            same(await asyncio.gather(*(self._text(client, seed) for seed in range(6))), alone)

    async def a_stream_is_parsed_into_an_object(self):
        ask = {**self._chat, "max_tokens": ROOM}
        async with self._client() as client:
            async with client.chat.completions.stream(**ask, seed=1, response_format=Person) as stream:
                done = [event async for event in stream if event.type == "content.done"]
                final = (await stream.get_final_completion()).choices[0].message.parsed
        assert isinstance(final, Person), final
        same([event.parsed for event in done], [final])

    async def a_response_is_streamed(self):
        ask = {"model": self._chat["model"], "input": PROMPT, "max_output_tokens": ROOM, "store": False}
        async with self._client() as client, client.responses.stream(**ask, text_format=Person) as stream:
            await stream.until_done()
            assert isinstance((await stream.get_final_response()).output_parsed, Person)

    async def leaving_a_stream_ends_its_session(self):
        endless = {"max_tokens": 3000, "extra_body": {"ignore_eos": True}}
        async with self._client() as client:
            async with await client.chat.completions.create(**{**self._chat, **endless}, stream=True) as stream:
                async for _ in stream:
                    break
                assert self._pipeline.status()["sessions"] == 1
        wait_until_idle(self._pipeline)

    async def a_cancelled_request_ends_its_session(self):
        endless = {"max_tokens": 3000, "extra_body": {"ignore_eos": True}}
        async with self._client() as client:
            task = asyncio.create_task(client.chat.completions.create(**{**self._chat, **endless}))
            await asyncio.sleep(1)
            same(self._pipeline.status()["sessions"], 1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        wait_until_idle(self._pipeline)

    async def leaving_many_requests_leaves_room_for_the_next(self):
        endless = {**self._chat, "n": 8, "max_tokens": 3000, "extra_body": {"ignore_eos": True}}
        # Whatever this does to a pipeline is not the matter of other checks.
        with tempfile.TemporaryDirectory() as directory:
            own = Pipeline(
                self._pipeline.trestle, self._pipeline.model, directory, *self._pipeline.serve
            )
            own.start()
            with closing(own):
                async with self._client(own) as client:
                    for _ in range(5):
                        requests = [client.chat.completions.create(**endless) for _ in range(2)]
                        tasks = [asyncio.create_task(request) for request in requests]
                        await asyncio.sleep(0.1)
                        for task in tasks:
                            task.cancel()
                        await asyncio.gather(*tasks, return_exceptions=True)
                        assert await self._text(client.with_options(timeout=10), seed=1)
