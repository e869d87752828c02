// What the lab holds: a vocabulary, a grammar, a state.

import Glibc
import Grammar

struct Lab {
  private var vocabulary = TokenVocabulary(tokens: [], endTokens: [])
  private var grammar: CompiledGrammar?
  private var state: GrammarState?

  mutating func answer(_ line: String) -> String {
    let words = line.split(separator: " ", omittingEmptySubsequences: false)
    switch words[0] {
    case "vocabulary": return read(String(words[1]))
    case "compile": return compile(words)
    case "mask": return mask()
    case "accept": return accept(Int32(words[1]) ?? 0)
    case "text": return text(bytes(words[1]))
    case "reset":
      state = grammar.map { GrammarState($0, vocabulary) }
      return "ok"
    default: return "unknown"
    }
  }

  private mutating func read(_ path: String) -> String {
    guard let file = unsafe fopen(path, "rb") else { return "error" }
    defer { unsafe fclose(file) }
    unsafe fseek(file, 0, SEEK_END)
    var data = [UInt8](repeating: 0, count: unsafe ftell(file))
    unsafe rewind(file)
    _ = unsafe fread(&data, 1, data.count, file)
    var offset = 4
    func word() -> Int {
      let value = (0..<4).reduce(UInt32(0)) { $0 | UInt32(data[offset + $1]) << UInt32(8 * $1) }
      offset += 4
      return Int(Int32(bitPattern: value))
    }
    let count = word()
    let endCount = word()
    let ends = (0..<endCount).map { _ in Int32(word()) }
    var tokens: [[UInt8]?] = []
    for _ in 0..<count {
      let length = word()
      tokens.append(length < 0 ? nil : Array(data[offset..<offset + length]))
      offset += max(0, length)
    }
    let start = ContinuousClock.now
    vocabulary = TokenVocabulary(tokens: tokens, endTokens: ends)
    return "ok \(nanoseconds(since: start))"
  }

  private mutating func compile(_ words: [Substring]) -> String {
    let source = String(decoding: bytes(words[3]), as: UTF8.self)
    let kind: GrammarSource =
      switch words[1] {
      case "schema": .jsonSchema(source, strict: words[2] == "1")
      case "json": .jsonObject
      case "value": .json
      case "choices": .choices(source.split(separator: "\n").map(String.init))
      case "pattern": .pattern(source)
      default: .gbnf(source)
      }
    let start = ContinuousClock.now
    do throws(GrammarError) {
      let grammar = try CompiledGrammar(kind)
      let time = nanoseconds(since: start)
      self.grammar = grammar
      state = GrammarState(grammar, vocabulary)
      return "ok \(time)"
    } catch {
      return "error \(error.code.rawValue) \(error)"
    }
  }

  private func mask() -> String {
    guard let state else { return "error" }
    let start = ContinuousClock.now
    let mask = state.allowed
    let time = nanoseconds(since: start)
    return "mask \(time) \(state.isComplete ? 1 : 0) \(hexadecimal(mask))"
  }

  private mutating func accept(_ token: Int32) -> String {
    let start = ContinuousClock.now
    let isAllowed = state?.accept(token) ?? false
    return isAllowed ? "ok \(nanoseconds(since: start))" : "refused"
  }

  private func text(_ bytes: [UInt8]) -> String {
    guard let grammar else { return "error" }
    var state = GrammarState(grammar, vocabulary)
    return state.accept(bytes: bytes) && state.isComplete ? "yes" : "no"
  }

  private func nanoseconds(since start: ContinuousClock.Instant) -> Int64 {
    let (seconds, attoseconds) = (ContinuousClock.now - start).components
    return seconds * 1_000_000_000 + attoseconds / 1_000_000_000
  }

  private func bytes(_ text: Substring) -> [UInt8] {
    let digits = text.utf8.map { $0 < 0x3A ? $0 - 0x30 : $0 - 0x61 + 10 }
    return stride(from: 0, to: digits.count - 1, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
  }

  private func hexadecimal(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    text.reserveCapacity(2 * bytes.count)
    for byte in bytes {
      text.append(digits[Int(byte >> 4)])
      text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
  }
}
