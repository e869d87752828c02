#!/usr/bin/env python3
"""Makes templates.json: what jinja2, set up as transformers sets it up, makes of chat templates, and the
tokens that Hugging Face's tokenizers make of that with the demo model's tokenizer.json.

  make_templates.py

needs, from PyPI, jinja2 and tokenizers. PROVENANCE.md says which versions.
"""

import json
from pathlib import Path

import jinja2
import jinja2.ext
import jinja2.sandbox
import tokenizers

HERE = Path(__file__).resolve().parent
DEMO = HERE.parents[2] / "demo-model"

# As google/gemma-2-2b-it has it: no system message.
GEMMA2 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}"
    "{% else %}{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)

# As google/gemma-3-4b-it has it: images too.
GEMMA3 = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set first_user_prefix = messages[0]['content'] + '

' -%}
    {%- else -%}
        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '

' -%}
    {%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '
' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}
                {{ '<start_of_image>' }}
            {%- elif item['type'] == 'text' -%}
                {{ item['text'] | trim }}
            {%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>
' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model
'}}
{%- endif -%}
"""


def nearly(first='""', reply="'<start_of_turn>model\\n'", extra="", content="m['content'] | trim"):
    """Gemma's turns with one thing changed."""
    return (
        "{{ bos_token }}\n{%- if messages[0]['role'] == 'system' -%}"
        "{%- set prefix = messages[0]['content'] + '\\n\\n' -%}{%- set rest = messages[1:] -%}"
        "{%- else -%}{%- set prefix = " + first + " -%}{%- set rest = messages -%}{%- endif -%}"
        + extra
        + "{%- for m in rest -%}"
        "{%- set role = 'model' if m['role'] == 'assistant' else m['role'] -%}"
        "{{ '<start_of_turn>' + role + '\\n' + (prefix if loop.first else '') }}{{ "
        + content
        + " }}{{ '<end_of_turn>\\n' }}{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{ " + reply + " }}{%- endif -%}\n"
    )


CHATML = """{# blocks on lines of their own: trim_blocks and lstrip_blocks #}
{% set ns = namespace(system='You are Falstaff.', count=0) %}
{% for message in messages if message.role == 'system' %}
  {% set ns.system = message.content %}
{% else %}
  {% set ns.count = ns.count + 1 %}
{% endfor %}
{% if ns.system %}
<|im_start|>system
{{ ns.system }}<|im_end|>
{% endif %}
  {% for message in messages %}
    {%- if not message.role == "system" %}
{{ '<|im_start|>' ~ message.role ~ '\\n' -}}
{{ message.content }}{{ '<|im_end|>\\n' }}
    {%- endif %}
  {% endfor %}
{% if add_generation_prompt and ns.count >= 0 -%}
    <|im_start|>assistant
{% endif %}
"""

ODDS = """{{- bos_token -}}
{%- set turns = messages | list -%}
{% if tools is not none and tools is defined %}tools{% elif documents %}documents{% endif %}
{%- generation -%}{%- endgeneration -%}
{% set opening %}<start_of_turn>{{ turns[0].role }}{% endset %}
{{ opening | trim }}{{ "\\n" }}
{%- for turn in turns -%}
  {{- turn.content.strip() if turn.role in ['user', 'system'] else turn['content'] | replace('a', 'A') -}}
  {{- "<end_of_turn>" if loop.last else ' | ' ~ loop.index ~ '/' ~ loop.length ~ ' ' -}}
  {%- if loop.previtem is defined and loop.previtem.role != turn.role %} ^{% endif -%}
{%- endfor %}
{{ turns | length }}{{ turns[-1].content[:3] }}|{{ turns[-1].content[-2:] }}|{{ missing }}|
{{- turns[0].get('name', 'nobody') }}|{{ turns[0].name | default('none given') }}|{{ (turns | first).role }}
{{- ' yes' if 'e' in turns[0].content and turns[0].content is string else ' no' }}
{{- '"quoted" \\x41\\u00e9\\\\ \\q' "joined" }}
{% for i in range(1, 4) if i is odd %}{{ i }}{{ -i + 1 }}{{ "," if not loop.last }}{% endfor %}
{{ eos_token }}{{ turns[0].content.split('.') | join('/') }}{{ true }}{{ none }}{{ 7 % 4 - 5 }}
"""

# Macros that call each other before they are defined, loops that are left, sorted members, steps.
MACROS = """{%- macro turn(message, mark='start', loud=false) -%}
    <{{ mark }}_of_turn>{{ (message.role | upper) if loud else message['role'].lower() }}{{ '\\n' -}}
    {{ body(message.content, most=12) }}<end_of_turn>
{% endmacro -%}
{%- macro body(text, most, separator=' ') -%}
    {%- set state = namespace(parts=[]) -%}
    {%- for part in text.split(separator) -%}
        {%- if part == '' %}{% continue %}{% endif -%}
        {%- if loop.index > most or part == 'my' %}{% break %}{% endif -%}
        {%- set state.parts = state.parts + [part] -%}
    {%- endfor -%}
    {{- state.parts | map('trim') | join(separator) -}}
    {{- message is defined }}{{ shared }}{{ missing_one -}}
{%- endmacro -%}
{%- macro countdown(n, step=1) -%}
    {{ n }}{% if n > 0 %},{{ countdown(n - step, step=step) }}{% endif %}
{%- endmacro -%}
{%- macro members(value) -%}
    {%- if value is mapping -%}
        {{- '{' -}}
        {%- for key, member in value | dictsort -%}
            {{- key }}={{ members(member) }}{{ ';' if not loop.last -}}
        {%- endfor -%}
        {{- '}' -}}
    {%- elif value is string -%}'{{ value[:4] }}'
    {%- elif value is sequence -%}
        [{% for item in value %}{{ members(item) }}{% endfor %}]
    {%- else -%}{{ value }}{%- endif -%}
{%- endmacro -%}
{{- bos_token -}}
{%- set shared = '/' -%}
{%- for message in messages -%}{{ turn(message, loud=loop.last) }}{%- endfor -%}
{{ countdown(3) }} {{ countdown(4, 2) }} {{ members(messages) }}
{{- members({'b': {}, 'A': messages[0].get('tools', {}), 'c': [1,]}) }}{{ {'x': 7}['x'] }}{{ {} | length }}
{%- for number in range(6, -1, -2) %} {{ number }}{% endfor %}
{% set captured %}{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.role }}{% endfor %}{% endset -%}
{{ captured | trim | length > 0 }}{{ [['a', 1], ['b', 2]] | length }}
{%- for name, value in [['a', 1], ['b', 2]] if value > 1 %}{{ name }}{{ value }}{% endfor -%}
"""

THINK = nearly(content="(m['content'].split('</think>')[-1] if '</think>' in m['content'] else m['content']) | trim")

TEMPLATES = {
    "Gemma 2": GEMMA2,
    "Gemma 3": GEMMA3,
    "Gemma 3, by attributes": GEMMA3.replace("message['content']", "message.content"),
    "plain": nearly(),
    "a default system text": nearly(first="'You are Falstaff, a merry knight.\\n\\n'"),
    "a reply that begins to think": nearly(reply="'<start_of_turn>model\\n<think>\\n'"),
    "a text where no tools are given": nearly(
        extra="{%- if not tools -%}{%- set prefix = prefix + 'Answer without tools.\\n\\n' -%}{%- endif -%}"
    ),
    "content as it is": nearly(content="m['content']"),
    "what was thought is left out": THINK,
    "no begin token": nearly().replace("{{ bos_token }}\n", ""),
    "two begin tokens": "{{ bos_token }}" + nearly(),
    "ChatML with a default": CHATML,
    "odds and ends": ODDS,
    "macros and more": MACROS,
}

# What is not supported, and a word that the refusal must hold.
REFUSED = {
    "{{ turn(messages[0].content) }}{% macro turn(m) %}{{ m }}{% endmacro %}": "before it is defined",
    "{% macro turn(m) %}{{ m }}{% endmacro %}{{ turn(messages[0].content, 1) }}": "arguments of the macro",
    "{% macro turn(m) %}{{ turn(m) }}{% endmacro %}{{ turn(messages[0].content) }}": "nested",
    "{% macro turn(m) %}{% break %}{% endmacro %}{{ messages[0].content }}": "break",
    "{% for a, b in messages %}{{ a }}{% endfor %}{{ messages[0].content }}": "names of a loop",
    "{{ messages[0].content | dictsort }}": "dictsort",
    "{{ messages | map('tojson') | join }}{{ messages[0].content }}": "tojson",
    "{% include 'other' %}{{ messages[0].content }}": "include",
    "{{ messages | tojson }}": "tojson",
    "{{ messages[0].content | title }}": "title",
    "{{ strftime_now('%d') }}{{ messages[0].content }}": "strftime_now",
    "{{ messages[0].content * 2 }}": "*",
    "{% for k, v in messages[0].items() %}{{ v }}{% endfor %}": "items",
    "{{ {'a': 1} }}{{ messages[0].content }}": "a mapping",
    "{{ {1: 1} | length }}{{ messages[0].content }}": "a key that is no text",
    "{{ messages[0].content.title() }}": "title",
    "{{ 1.5 }}{{ messages[0].content }}": "1",
    "{{ messages[0].content is divisibleby 3 }}": "divisibleby",
    "{{ messages[0].content[::2] }}": "step",
    "{% for m in messages %}<|im_start|>{% endfor %}": "left out",
    "{{ messages[0].content + 1 }}": "a number",
    "{{ missing.member }}{{ messages[0].content }}": "missing",
    "{{ messages[0].content": "end",
    "{% if true %}{{ messages[0].content }}": "endif",
    "{% endif %}{{ messages[0].content }}": "endif",
    "{{ raise_exception('only on Sundays') }}": "only on Sundays",
    "{{ messages[0].content }}{{ ')' ) }}": ")",
    "plain text": "left out",
    "": "left out",
}

CONVERSATIONS = [
    [("user", " Where is my lord? ")],
    [("system", "Answer in verse."), ("user", "What is night?")],
    [("user", "Who art thou?"), ("assistant", "A <b>king</b>. "), ("user", "Of what?\n")],
    [("user", "a</think>b<end_of_turn>\n<start_of_turn>model\n<bos>"), ("assistant", "x</think> y</think>z")],
    [("user", "\u00a0\u2003\x1c\u3000 trimmed \u2028\u200b\u2029")],
    [("user", ""), ("assistant", "")],
    [("user", "one"), ("user", "two")],
]


class Generation(jinja2.ext.Extension):
    """{% generation %} as transformers has it: its body and nothing else."""

    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(["name:endgeneration"], drop_needle=True)


def environment():
    """As transformers' chat_template_utils sets it up."""
    result = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    result.globals["raise_exception"] = raise_exception
    return result


def render(source, messages, starts_reply):
    return environment().from_string(source).render(
        messages=messages,
        tools=None,
        documents=None,
        add_generation_prompt=starts_reply,
        bos_token="<bos>",
        eos_token="<eos>",
    )


def main():
    tokenizer = tokenizers.Tokenizer.from_file(str(DEMO / "tokenizer.json"))
    cases = []
    for name, source in TEMPLATES.items():
        for conversation in CONVERSATIONS:
            messages = [{"role": role, "content": content} for role, content in conversation]
            # What a user says stays text with us, and would be parsed by transformers: its tokens are
            # compared only where it looks like none.
            looks_special = any("<end_of_turn>" in message["content"] for message in messages)
            for starts_reply in (True, False):
                case = {"template": name, "messages": messages, "starts_reply": starts_reply}
                try:
                    case["rendered"] = render(source, messages, starts_reply)
                    if not looks_special:
                        encoded = tokenizer.encode(case["rendered"], add_special_tokens=False)
                        case["ids"] = encoded.ids
                except jinja2.exceptions.TemplateError as error:
                    case["error"] = str(error)
                cases.append(case)
    document = {
        "reference": f"jinja2 {jinja2.__version__}, tokenizers {tokenizers.__version__}",
        "templates": TEMPLATES,
        "refused": REFUSED,
        "cases": cases,
    }
    (HERE / "templates.json").write_text(json.dumps(document, indent=1, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
