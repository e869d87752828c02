// JSON Schema, keyword by keyword: what is allowed, what is not, what is refused.

import Testing

@testable import Grammar

@Suite struct `JSON Schema` {
  @Test func `without keywords it is any JSON`() throws {
    try check(
      "{}",
      valid: [
        "1", "-0.5e+10", "\"a\"", "{\"a\":1}", "{\"a\": 1, \"b\": [1,2,{}]}", "[]", "null",
        "\"\\ud83d\\ude00\"", "\"é😀\"", "\"\\/\\b\"",
      ],
      invalid: [
        "", "01", "\"\\ud83d\"", "\"\\ude00\"", "{\"a\":1,}", "[1 ,2]", "\"\n\"", "\"a", "1.", "+1",
        ".5",
        "[1,  2]", " 1", "1 ", "{ }", "12345678901234567", "1e100", "tru", "\"\\x\"",
      ]
    )
    try check("true", valid: ["1"], invalid: [""])
  }

  @Test func `types are kinds of values`() throws {
    let values = [
      "null": "null", "boolean": "true", "integer": "3", "string": "\"s\"", "array": "[]",
      "object": "{}",
    ]
    for (type, value) in values {
      let others = values.values.filter { $0 != value }
      try check("{\"type\":\"\(type)\"}", valid: [value], invalid: others)
    }
    try check("{\"type\":\"integer\"}", valid: ["-12", "0"], invalid: ["1.5", "1e2"])
    try check(
      "{\"type\":[\"integer\",\"null\"]}",
      valid: ["1", "null"],
      invalid: ["1.5", "\"\"", "true"]
    )
  }

  @Test func `properties come in their order, required ones always`() throws {
    let text = """
      {"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"},"c":{}},
       "required":["a"],"additionalProperties":false}
      """
    try check(
      text,
      valid: [
        "{\"a\":1}", "{\"a\": 1,\"b\":\"x\"}", "{\"a\":1, \"c\":[]}",
        "{\"a\":1,\"b\":\"\",\"c\":0}",
      ],
      invalid: [
        "{}", "{\"b\":\"x\"}", "{\"a\":1,\"d\":2}", "{\"b\":\"x\",\"a\":1}", "{\"a\":\"x\"}",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1,}", "{,\"a\":1}",
      ]
    )
  }

  @Test func `other properties follow unless they are forbidden`() throws {
    let text = ##"{"type":"object","properties":{"ab":{"type":"integer"}}}"##
    try check(
      text,
      valid: [
        "{}", "{\"ab\":1,\"abc\":2}", "{\"a\":[]}", "{\"\":0}", "{\"a\\\"b\":1}",
        "{\"é\":1,\"z\":{\"ab\":\"\"}}",
      ],
      invalid: ["{\"ab\":\"\"}", "{\"x\":1,\"ab\":2}", "{\"\\u0061b\":\"\"}"]
    )
    try check(text, strict: true, valid: ["{}", "{\"ab\":1}"], invalid: ["{\"a\":1}"])
    try check(
      ##"{"type":"object","additionalProperties":{"type":"integer"}}"##,
      valid: ["{}", "{\"x\":1,\"y\":2}"],
      invalid: ["{\"x\":\"\"}"]
    )
    try check(
      ##"{"type":"object","required":["q"],"properties":{"a":{}},"additionalProperties":{"type":"null"}}"##,
      valid: ["{\"q\":null}", "{\"a\":1,\"q\":null,\"r\":null}"],
      invalid: ["{\"a\":1}", "{\"q\":1}"]
    )
  }

  @Test func `names that match patterns have their schemas`() throws {
    try check(
      ##"{"type":"object","patternProperties":{"^x":{"type":"integer"}},"additionalProperties":false}"##,
      valid: ["{}", "{\"x1\":1,\"x\":2}"],
      invalid: ["{\"y\":1}", "{\"x\":\"a\"}"]
    )
    try check(
      ##"{"type":"object","patternProperties":{"^x":{"minimum":3},"z$":{"maximum":5}},"additionalProperties":{"type":"null"}}"##,
      valid: ["{\"xz\":4,\"xa\":9,\"az\":1,\"q\":null}"],
      invalid: ["{\"xz\":2}", "{\"xz\":6}", "{\"q\":4}"]
    )
    try check(
      ##"{"type":"object","properties":{"xa":{"type":"integer"}},"patternProperties":{"^x":{"minimum":3}}}"##,
      valid: ["{\"xa\":3}"],
      invalid: ["{\"xa\":2}", "{\"xa\":3.5}"]
    )
    try check(
      ##"{"type":"object","propertyNames":{"pattern":"^[a-z]+$","maxLength":3}}"##,
      valid: ["{}", "{\"abc\":1}"],
      invalid: ["{\"abcd\":1}", "{\"A\":1}"]
    )
    try check(
      ##"{"type":"object","propertyNames":{"enum":["a","b"]},"properties":{"c":{}}}"##,
      valid: ["{\"a\":1}"],
      invalid: ["{\"c\":1}"]
    )
  }

  @Test func `properties are counted`() throws {
    try check(
      ##"{"type":"object","minProperties":1,"maxProperties":2,"properties":{"a":{},"b":{}}}"##,
      valid: ["{\"a\":1}", "{\"a\":1,\"b\":2}", "{\"z\":1}", "{\"b\":1,\"z\":2}"],
      invalid: ["{}", "{\"a\":1,\"b\":2,\"c\":3}", "{\"x\":1,\"y\":2,\"z\":3}"]
    )
    try check(
      ##"{"type":"object","minProperties":2,"properties":{"a":{}},"additionalProperties":{"type":"integer"}}"##,
      valid: ["{\"a\":1,\"b\":2}", "{\"a\":1,\"b\":2,\"c\":3}"],
      // Two names that are not declared may be one.
      invalid: ["{}", "{\"a\":1}", "{\"b\":1,\"b\":2}"]
    )
    let open = #"{"type":"object","minProperties":2,"additionalProperties":{"type":"integer"}}"#
    #expect(refusal(ofSchema: open)?.path == "#/minProperties")
    try check(
      ##"{"type":"object","maxProperties":0}"##,
      valid: ["{}"],
      invalid: ["{\"a\":1}"]
    )
  }

  @Test func `arrays have items and counts`() throws {
    try check(
      ##"{"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":3}"##,
      valid: ["[1,2]", "[1, 2, 3]"],
      invalid: ["[1]", "[]", "[1,2,3,4]", "[1,\"\"]"]
    )
    try check(
      ##"{"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"items":false,"minItems":1}"##,
      valid: ["[1]", "[1,\"a\"]"],
      invalid: ["[]", "[1,\"a\",2]", "[\"a\"]"]
    )
    try check(
      ##"{"type":"array","items":[{"type":"integer"}],"additionalItems":{"type":"null"}}"##,
      valid: ["[]", "[1]", "[1,null,null]"],
      invalid: ["[null]", "[1,1]"]
    )
    try check(##"{"type":"array","maxItems":0}"##, valid: ["[]"], invalid: ["[1]"])
    try check(
      ##"{"type":"array","prefixItems":[{"const":1},{"const":2}],"maxItems":1}"##,
      valid: ["[]", "[1]"],
      invalid: ["[1,2]"]
    )
    try check(##"{"type":"array","items":false}"##, valid: ["[]"], invalid: ["[1]"])
    try check(##"{"type":"array","uniqueItems":false}"##, valid: ["[1,1]"], invalid: [])
  }

  @Test func `integers lie in their range`() throws {
    try check(
      ##"{"type":"integer","minimum":10,"maximum":250}"##,
      valid: ["10", "99", "100", "250"],
      invalid: ["9", "251", "1", "0", "-10", "1000", "010"]
    )
    for (low, high) in [(-120, 35), (0, 0), (-9, -3), (7, 1003), (99, 101), (-1, 1)] {
      let text = "{\"type\":\"integer\",\"exclusiveMinimum\":\(low),\"maximum\":\(high)}"
      let isEmpty = low == high
      guard !isEmpty else {
        #expect(refusal(ofSchema: text)?.code == .unsatisfiable)
        continue
      }
      let grammar = try schema(text)
      for value in -1_100...1_100 {
        let isInside = value > low && value <= high
        #expect(accepts(grammar, "\(value)") == isInside, "\(value) in \(low)...\(high)")
      }
    }
  }

  @Test func `numbers lie in their range`() throws {
    try check(
      ##"{"type":"number","minimum":-1.5,"exclusiveMaximum":2.25}"##,
      valid: [
        "-1.5", "-1.50", "0", "-0", "2.2", "2.2499", "1", "-1.49", "2", "-1", "2.0", "0.0001",
      ],
      invalid: ["-1.51", "2.25", "2.250", "2.3", "3", "-2", "22", "-1.5000001", "2."]
    )
    try check(
      ##"{"type":"number","minimum":0.05,"maximum":1e2}"##,
      valid: ["0.05", "0.1", "100", "100.0", "99.99"],
      invalid: ["0", "0.04", "100.01", "-1"]
    )
    // Draft 4.
    try check(
      ##"{"type":"integer","minimum":1,"exclusiveMinimum":true}"##,
      valid: ["2"],
      invalid: ["1"]
    )
  }

  @Test func `numbers are multiples`() throws {
    let sevens = try schema(##"{"type":"integer","multipleOf":7}"##)
    for value in -100...100 { #expect(accepts(sevens, "\(value)") == (value % 7 == 0)) }
    try check(
      ##"{"type":"number","multipleOf":0.05}"##,
      valid: ["0.05", "5", "5.1", "-3.25"],
      invalid: ["0.01", "0.001", "1.23"]
    )
    try check(
      ##"{"type":"number","multipleOf":2,"minimum":3}"##,
      valid: ["4", "100"],
      invalid: ["2", "5", "4.5"]
    )
    #expect(refusal(ofSchema: ##"{"type":"integer","multipleOf":9973}"##)?.path == "#/multipleOf")
  }

  @Test func `strings have lengths in characters`() throws {
    try check(
      ##"{"type":"string","minLength":2,"maxLength":3}"##,
      valid: ["\"ab\"", "\"é😀a\"", "\"\\n\\u00e9\"", "\"\\ud83d\\ude00x\""],
      invalid: ["\"a\"", "\"abcd\"", "\"\\ud83d\\ude00\"", "\"é\""]
    )
    try check(
      ##"{"type":"string","pattern":"^a+$","minLength":2,"maxLength":3}"##,
      valid: ["\"aa\"", "\"aaa\""],
      invalid: ["\"a\"", "\"aaaa\"", "\"ab\""]
    )
  }

  @Test func `enum and const list values`() throws {
    try check(
      ##"{"enum":["a","ab","b",1,null,{"x":[1,2]},"q\"t"]}"##,
      valid: ["\"a\"", "\"ab\"", "1", "null", "{\"x\": [1,2]}", "\"q\\\"t\""],
      invalid: ["\"abc\"", "2", "\"", "{\"x\":[1]}"]
    )
    try check(##"{"const":{"k":"v"}}"##, valid: ["{\"k\":\"v\"}"], invalid: ["{}"])
    // What the keywords beside it forbid is no value.
    try check(
      ##"{"type":"integer","enum":[1,2.5,"x",30,4.0],"maximum":10}"##,
      valid: ["1", "4.0"],
      invalid: ["2.5", "\"x\"", "30"]
    )
    try check(
      ##"{"allOf":[{"enum":[1,2,3]},{"enum":[2.0,3,4]}]}"##,
      valid: ["2", "3"],
      invalid: ["1", "4"]
    )
  }

  @Test func `anyOf, oneOf and allOf combine`() throws {
    try check(
      ##"{"anyOf":[{"type":"integer"},{"type":"string","maxLength":1}],"enum":[1,"a","ab",true]}"##,
      valid: ["1", "\"a\""],
      invalid: ["\"ab\"", "true"]
    )
    try check(
      ##"""
      {"oneOf":[{"type":"object","properties":{"t":{"const":"a"},"x":{"type":"integer"}},"required":["t"]},
                {"type":"object","properties":{"t":{"const":"b"}},"required":["t"]}]}
      """##,
      valid: ["{\"t\":\"a\"}", "{\"t\":\"b\",\"x\":\"q\"}"],
      invalid: ["{\"t\":\"c\"}", "{\"t\":\"a\",\"x\":\"q\"}"]
    )
    try check(
      ##"{"oneOf":[{"type":"integer","maximum":3},{"type":"integer","minimum":4},{"type":"string","pattern":"^a"},{"type":"string","pattern":"^b"}]}"##,
      valid: ["3", "4", "\"ax\"", "\"b\""],
      invalid: ["\"c\""]
    )
    try check(
      ##"{"type":"object","allOf":[{"properties":{"a":{"type":"integer","minimum":3}}},{"properties":{"a":{"maximum":5}},"required":["a"]}]}"##,
      valid: ["{\"a\":4}", "{\"a\":3,\"z\":1}"],
      invalid: ["{\"a\":2}", "{\"a\":6}", "{}"]
    )
    try check(
      ##"{"type":"object","properties":{"a":{},"b":{}},"additionalProperties":false,"anyOf":[{"required":["a"]},{"required":["b"]}]}"##,
      valid: ["{\"a\":1}", "{\"b\":1}", "{\"a\":1,\"b\":2}"],
      invalid: ["{}"]
    )
  }

  @Test func `references recurse`() throws {
    try check(
      ##"""
      {"$ref":"#/$defs/n","$defs":{"n":{"type":"object","properties":{"v":{"type":"integer"},
       "c":{"type":"array","items":{"$ref":"#/$defs/n"}}},"required":["v"],"additionalProperties":false}}}
      """##,
      valid: ["{\"v\":1}", "{\"v\":1,\"c\":[{\"v\":2,\"c\":[]},{\"v\":3}]}"],
      invalid: ["{\"c\":[]}", "{\"v\":1,\"c\":[{}]}"]
    )
    try check(
      ##"{"anyOf":[{"type":"null"},{"type":"array","items":{"$ref":"#"}}]}"##,
      valid: ["null", "[[],[null,[[]]]]"],
      invalid: ["[1]"]
    )
    try check(
      ##"{"properties":{"a/b":{"$ref":"#/definitions/x~1y%25"}},"type":"object","definitions":{"x/y%":{"const":1}},"additionalProperties":false}"##,
      valid: ["{\"a/b\":1}"],
      invalid: ["{\"a/b\":2}"]
    )
    try check(
      ##"{"$id":"http://a/b","type":"array","items":{"$ref":"http://a/b#it"},"$defs":{"x":{"$anchor":"it","const":1}}}"##,
      valid: ["[1]"],
      invalid: ["[2]"]
    )
  }

  @Test(arguments: [
    (
      "date", ["2024-02-29", "2023-12-31", "2000-02-29"],
      ["2023-02-29", "1900-02-29", "2023-13-01", "0000-01-01", "2023-04-31"]
    ),
    ("time", ["23:59:59Z", "00:00:00.5+01:00"], ["24:00:00Z", "12:00", "12:00:60Z"]),
    ("date-time", ["2024-01-01T00:00:00Z"], ["2024-01-01", "2024-01-01 00:00:00Z"]),
    ("duration", ["P1D", "PT1H30M", "P3W", "P1Y2M3DT4S"], ["P", "PT", "1D", "P1DT"]),
    ("uuid", ["123e4567-e89b-12d3-a456-426614174000"], ["x", "123e4567e89b12d3a456426614174000"]),
    ("email", ["a.b@c.de"], ["a", "@b", "a@", ".a@b", "a..b@c"]),
    ("hostname", ["a", "a-b.example"], ["-a", "a-", "a..b", ""]),
    ("ipv4", ["1.2.3.255", "0.0.0.0"], ["1.2.3.256", "1.2.3", "01.2.3.4"]),
    (
      "ipv6", ["::1", "1:2:3:4:5:6:7:8", "fe80::1.2.3.4", "::", "1::", "1:2:3:4:5:6:7::"],
      ["1:2", ":::", "1::2::3", "1:2:3:4:5:6:7:8:9", "12345::"]
    ),
    ("uri", ["http://a.b/c?d#e", "mailto:x@y", "urn:a:b"], ["x y", "a", "//a", "http://a b"]),
  ])
  func `formats allow what is of them`(_ name: String, _ good: [String], _ bad: [String]) throws {
    try check(
      "{\"type\":\"string\",\"format\":\"\(name)\"}",
      valid: good.map { "\"\($0)\"" },
      invalid: bad.map { "\"\($0)\"" }
    )
  }

  @Test(arguments: [
    (##"{"not":{}}"##, "#/not"),
    (##"{"properties":{"a":{"items":{"if":{}}}},"type":"object"}"##, "#/properties/a/items/if"),
    (##"{"type":"array","contains":{}}"##, "#/contains"),
    (##"{"type":"array","uniqueItems":true}"##, "#/uniqueItems"),
    (##"{"type":"object","dependentRequired":{}}"##, "#/dependentRequired"),
    (##"{"type":"object","unevaluatedProperties":false}"##, "#/unevaluatedProperties"),
    (##"{"type":"string","nullable":true}"##, "#/nullable"),
    (##"{"type":"string","format":"regex"}"##, "#/format"),
    (##"{"type":"string","pattern":"(?=a)"}"##, "#/pattern"),
    (##"{"type":"string","pattern":"(a)\\1"}"##, "#/pattern"),
    (##"{"anyOf":[{"type":"string"},{"$ref":"other.json#/a"}]}"##, "#/anyOf/1/$ref"),
    (##"{"oneOf":[{"type":"integer"},{"type":"number"}]}"##, "#/oneOf"),
    (##"{"$defs":{"a/b":{"not":{}}},"$ref":"#/$defs/a~1b"}"##, "#/$defs/a~1b/not"),
  ])
  func `what is not supported is refused by its path`(_ text: String, _ path: String) {
    let error = refusal(ofSchema: text)
    #expect(error?.code == .unsupported)
    #expect(error?.path == path)
  }

  @Test(arguments: [
    (##"{"type":"text"}"##, "#/type"), (##"{"type":"object","required":true}"##, "#/required"),
    (##"{"$ref":"#/nowhere"}"##, "#/$ref"), (##"{"type":"string","pattern":"a("}"##, "#/pattern"),
    (##"{"type":"string","minLength":-1}"##, "#/minLength"), (##"{"minimum":"1"}"##, "#/minimum"),
    (##"{"anyOf":[]}"##, "#/anyOf"), (##"{"properties":[]}"##, "#/properties"),
    (##"{"items":3}"##, "#/items"),
    (##"{"enum":3}"##, "#/enum"), ("[]", "#"), ("{", ""), ("{\"a\":1,\"a\":2}", ""), ("", ""),
  ])
  func `what is malformed is refused`(_ text: String, _ path: String) {
    let error = refusal(ofSchema: text)
    #expect(error?.code == .malformed)
    #expect(error?.path == path)
  }

  @Test func `a misspelt keyword is refused where strict`() {
    let text = ##"{"type":"string","maxLenght":3,"x-mine":1,"title":"t"}"##
    #expect(refusal(ofSchema: text) == nil)
    #expect(refusal(ofSchema: text, strict: true)?.path == "#/maxLenght")
  }

  @Test(arguments: [
    "false", ##"{"type":"string","minLength":3,"maxLength":2}"##, ##"{"enum":[]}"##,
    ##"{"type":"object","required":["a"],"additionalProperties":false}"##,
    ##"{"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]}"##,
    ##"{"type":"integer","minimum":0.1,"maximum":0.9}"##,
    ##"{"allOf":[{"type":"string"},{"type":"null"}]}"##,
    ##"{"type":"array","items":false,"minItems":1}"##, ##"{"type":"integer","minimum":1e17}"##,
  ])
  func `what nothing satisfies is refused`(_ text: String) {
    #expect(refusal(ofSchema: text)?.code == .unsatisfiable)
  }

  @Test(arguments: [##"{"$ref":"#"}"##, ##"{"anyOf":[{"$ref":"#"},{"type":"null"}]}"##])
  func `a schema that says only itself is refused`(_ text: String) {
    #expect(refusal(ofSchema: text)?.code == .unsupported)
  }
}
