// The turns of Gemma 4, for files of it whose own template is missing or cannot be followed. It is a template
// as well, run by the same interpreter.

extension ChatTemplate {
  /// Gemma 4's turns, with thoughts and calls of tools, without images, sound and video.
  ///
  /// A turn is `<|turn>user`, a line end, the message and `<turn|>`. The assistant's role is called model. A
  /// system turn holds the instructions, the tools, and `<|think|>` if the model shall think before it
  /// answers. What it thought leaves the history. A tool's answer follows its call in the same turn.
  ///
  /// - Parameter closesThought: Whether a reply without thoughts begins with an empty one: the models without
  ///   per-layer inputs (12B, 26B, 31B) want it, the small ones (E2B, E4B) do worse with it.
  /// - Returns: The template.
  package static func gemma4Turns(closesThought: Bool) -> ChatTemplate {
    closesThought ? gemma4Large : gemma4Small
  }

  private static let gemma4Small = builtIn(gemma4Source(emptyThought: ""))
  private static let gemma4Large = builtIn(
    gemma4Source(
      emptyThought: "{%- if not enable_thinking -%}<|channel>thought\n<channel|>{%- endif -%}"
    )
  )

  private static func gemma4Source(emptyThought: String) -> String {
    gemma4Macros + gemma4SystemTurn + gemma4Messages + #"""
      {%- if add_generation_prompt and state.is_open -%}
        {{- '<|channel>thought\n' if enable_thinking -}}
      {%- elif add_generation_prompt and not state.is_waiting -%}
        {{- '<|turn>model\n' -}}
      """# + emptyThought + "{%- endif -%}"
  }

  // How values, the parameters of tools and the assistant's messages are written.
  private static let gemma4Macros = #"""
    {%- macro quoted(text) -%}<|"|>{{- text -}}<|"|>{%- endmacro -%}
    {%- macro shown(value) -%}
      {%- if value is string -%}{{- quoted(value) -}}
      {%- elif value is boolean -%}{{- 'true' if value else 'false' -}}
      {%- elif value is none -%}null
      {%- elif value is mapping -%}
        {{- '{' -}}
        {%- for key, member in value | dictsort -%}
          {{- ',' if not loop.first -}}{{- key -}}:{{- shown(member) -}}
        {%- endfor -%}
        {{- '}' -}}
      {%- elif value is sequence -%}
        {{- '[' -}}
        {%- for member in value -%}{{- ',' if not loop.first -}}{{- shown(member) -}}{%- endfor -%}
        {{- ']' -}}
      {%- else -%}{{- value -}}
      {%- endif -%}
    {%- endmacro -%}
    {%- macro schema(of) -%}
      {%- set type = of['type'] | upper -%}
      {{- '{' -}}
      {%- if of['description'] -%}description:{{- quoted(of['description']) -}},{%- endif -%}
      {%- if type == 'STRING' and of['enum'] -%}enum:{{- shown(of['enum']) -}},{%- endif -%}
      {%- if type == 'ARRAY' and of['items'] -%}items:{{- schema(of['items']) -}},{%- endif -%}
      {%- if of['nullable'] -%}nullable:true,{%- endif -%}
      {%- if of['properties'] -%}
        {{- 'properties:{' -}}
        {%- for name, property in of['properties'] | dictsort -%}
          {{- ',' if not loop.first -}}{{- name -}}:{{- schema(property) -}}
        {%- endfor -%}
        {{- '},' -}}
      {%- endif -%}
      {%- if of['required'] -%}required:{{- shown(of['required']) -}},{%- endif -%}
      type:{{- quoted(type) -}}{{- '}' -}}
    {%- endmacro -%}
    {%- macro said(content) -%}
      {%- set parts = namespace(text='') -%}
      {%- for part in content.split('<channel|>') -%}
        {%- set parts.text = parts.text + part.split('<|channel>')[0] -%}
      {%- endfor -%}
      {{- parts.text | trim -}}
    {%- endmacro -%}
    """#

  private static let gemma4SystemTurn = #"""
    {{- bos_token -}}
    {%- set turns = messages -%}
    {%- set instructions = '' -%}
    {%- if messages[0]['role'] in ['system', 'developer'] -%}
      {%- set instructions = messages[0]['content'] | trim -%}
      {%- set turns = messages[1:] -%}
    {%- endif -%}
    {%- if enable_thinking or tools or turns | length < messages | length -%}
      {{- '<|turn>system\n' -}}{{- '<|think|>\n' if enable_thinking -}}{{- instructions -}}
      {%- for tool in tools or [] -%}
        <|tool>declaration:{{- tool['function']['name'] -}}{{- '{' -}}
        description:{{- quoted(tool['function']['description']) -}}
        {%- if tool['function']['parameters'] -%}
          ,parameters:{{- schema(tool['function']['parameters']) -}}
        {%- endif -%}
        {{- '}' -}}<tool|>
      {%- endfor -%}
      {{- '<turn|>\n' -}}
    {%- endif -%}
    """#

  // An assistant's turn is open where a tool has answered and nothing was said since, and it waits where a
  // call has no answer.
  private static let gemma4Messages = #"""
    {%- set state = namespace(is_open=false, is_waiting=false, last_user=-1) -%}
    {%- for turn in turns -%}
      {%- if turn['role'] == 'user' -%}{%- set state.last_user = loop.index0 -%}{%- endif -%}
    {%- endfor -%}
    {%- for turn in turns -%}
      {%- if turn['role'] == 'tool' -%}{%- continue -%}{%- endif -%}
      {%- set is_model = turn['role'] == 'assistant' -%}
      {%- set calls = turn['tool_calls'] or [] -%}
      {%- if state.is_open and not is_model -%}{{- '<turn|>\n' -}}{%- endif -%}
      {%- if not (state.is_open and is_model) -%}
        {{- '<|turn>' + ('model' if is_model else turn['role']) + '\n' -}}
      {%- endif -%}
      {%- if calls and turn['reasoning'] and loop.index0 > state.last_user -%}
        {{- '<|channel>thought\n' + turn['reasoning'] + '\n<channel|>' -}}
      {%- endif -%}
      {%- for call in calls -%}
        <|tool_call>call:{{- call['function']['name'] -}}{{- shown(call['function']['arguments']) -}}<tool_call|>
      {%- endfor -%}
      {%- set answers = namespace(count=0) -%}
      {%- if calls -%}
        {%- for answer in turns[loop.index:] -%}
          {%- if answer['role'] != 'tool' -%}{%- break -%}{%- endif -%}
          {%- set asked = namespace(name='unknown') -%}
          {%- for call in calls if call['id'] == answer['tool_call_id'] -%}
            {%- set asked.name = call['function']['name'] -%}
          {%- endfor -%}
          <|tool_response>response:{{- asked.name -}}{{- '{' -}}value:{{- quoted(answer['content']) -}}
          {{- '}' -}}<tool_response|>
          {%- set answers.count = answers.count + 1 -%}
        {%- endfor -%}
      {%- endif -%}
      {%- set text = said(turn['content']) if is_model else turn['content'] | trim -%}
      {{- text -}}
      {%- set state.is_waiting = calls and answers.count == 0 -%}
      {%- set state.is_open = answers.count > 0 and not text -%}
      {%- if state.is_waiting -%}<|tool_response>
      {%- elif not state.is_open -%}{{- '<turn|>\n' -}}
      {%- endif -%}
    {%- endfor -%}
    """#
}
