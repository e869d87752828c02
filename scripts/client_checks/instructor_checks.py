"""Checks with instructor."""

import asyncio

import anthropic
import instructor
import openai

from client_checks.common import CLIENT, PROMPT, ROOM, Person, user


class Instructor:
    """Objects of a pydantic model, each at the first try."""

    def __init__(self, pipeline, model):
        self._openai = openai.OpenAI(base_url=f"{pipeline.url}/v1", **CLIENT)
        self._async_openai = openai.AsyncOpenAI(base_url=f"{pipeline.url}/v1", **CLIENT)
        self._anthropic = anthropic.Anthropic(base_url=pipeline.url, **CLIENT)
        self._ask = {"model": model, "messages": user(PROMPT), "max_retries": 0, "max_tokens": ROOM}

    def _check(self, client, response_model=Person, **options):
        answer = client.create(**{**self._ask, **options}, response_model=response_model)
        assert isinstance(answer, response_model), answer

    def a_schema_gives_an_object(self):
        self._check(instructor.from_openai(self._openai, mode=instructor.Mode.JSON_SCHEMA), seed=1)

    def a_tool_gives_an_object(self):
        self._check(instructor.from_openai(self._openai, mode=instructor.Mode.TOOLS), seed=1)

    def a_strict_tool_gives_an_object(self):
        self._check(instructor.from_openai(self._openai, mode=instructor.Mode.TOOLS_STRICT), seed=1)

    def parts_of_an_object_grow_into_it(self):
        client = instructor.from_openai(self._openai, mode=instructor.Mode.JSON_SCHEMA)
        parts = list(client.create_partial(**self._ask, seed=1, response_model=Person))
        assert len(parts) > 1, parts
        Person.model_validate(parts[-1].model_dump())

    async def async_tools_give_objects(self):
        client = instructor.from_openai(self._async_openai, mode=instructor.Mode.TOOLS)
        answers = await asyncio.gather(
            *(client.create(**self._ask, seed=seed, response_model=Person) for seed in range(4)))
        assert all(isinstance(answer, Person) for answer in answers), answers

    def a_function_of_a_response_gives_an_object(self):
        client = instructor.from_openai(self._openai, mode=instructor.Mode.RESPONSES_TOOLS)
        self._check(client)

    def a_tool_of_a_message_gives_an_object(self):
        self._check(instructor.from_anthropic(self._anthropic, mode=instructor.Mode.ANTHROPIC_TOOLS))
