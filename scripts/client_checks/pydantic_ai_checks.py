"""Checks with Pydantic AI, at both of OpenAI's interfaces."""

from typing import Literal

import openai
from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.capabilities import PrepareOutputTools, PrepareTools
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

from client_checks.common import CLIENT, PROMPT, ROOM, Verdict, same


class PydanticAI:
    """An agent at one of the interfaces."""

    def __init__(self, model):
        self._settings = {"max_tokens": ROOM, "temperature": 0, "parallel_tool_calls": False}
        self._model = model

    async def _run(self, **options):
        return await Agent(self._model, retries=0, model_settings=self._settings, **options).run(PROMPT)

    async def a_text_is_given(self):
        result = await self._run()
        assert result.output and result.usage.output_tokens > 0, result

    async def a_text_is_streamed(self):
        agent = Agent(self._model, retries=0, model_settings=self._settings)
        async with agent.run_stream(PROMPT) as stream:
            parts = [part async for part in stream.stream_text(delta=True, debounce_by=None)]
        same("".join(parts), (await self._run()).output)

    async def a_tool_gives_an_object(self):
        assert isinstance((await self._run(output_type=ToolOutput(Verdict))).output, Verdict)

    async def a_schema_gives_an_object(self):
        assert isinstance((await self._run(output_type=NativeOutput(Verdict))).output, Verdict)

    async def a_tool_is_called_and_its_result_read(self):
        calls = []

        def tell_weather(kind: Literal["rain", "sun"], days: Literal[1, 2, 3]) -> str:
            """Tells the weather of the next days."""
            calls.append((kind, days))
            return "It rains."

        def after_a_call(context, tools):
            return tools if calls else []

        def before_a_call(context, tools):
            return [] if calls else tools

        # Nothing but the one step is possible each time, so a weak model takes it, too.
        result = await self._run(
            tools=[tell_weather], output_type=ToolOutput(Verdict),
            capabilities=[PrepareTools(before_a_call), PrepareOutputTools(after_a_call)])
        assert calls
        assert isinstance(result.output, Verdict), result
        kinds = [part.part_kind for message in result.all_messages() for part in message.parts]
        assert kinds.index("tool-call") < kinds.index("tool-return"), kinds


class PydanticAIChat(PydanticAI):
    def __init__(self, pipeline, model):
        super().__init__(OpenAIChatModel(model, provider=openai_provider(pipeline)))


class PydanticAIResponses(PydanticAI):
    def __init__(self, pipeline, model):
        super().__init__(OpenAIResponsesModel(model, provider=openai_provider(pipeline)))


def openai_provider(pipeline):
    return OpenAIProvider(openai_client=openai.AsyncOpenAI(base_url=f"{pipeline.url}/v1", **CLIENT))
