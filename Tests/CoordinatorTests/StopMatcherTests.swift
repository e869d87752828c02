// Stop strings in text that comes in pieces: the cuts must not matter.

import Coordinator
import TestSupport
import Testing

@Suite struct `Stop strings` {
  /// Feeds pieces and returns what was shown, piece by piece, and whether a stop matched.
  private func feed(_ pieces: [String], _ stops: [String]) -> (shown: [String], matched: Bool) {
    let (shown, stop) = feedAll(pieces, stops)
    return (shown, stop != nil)
  }

  /// The same, with the stop string that matched.
  private func feedAll(_ pieces: [String], _ stops: [String]) -> (shown: [String], stop: String?) {
    var matcher = StopMatcher(stops: stops)
    var shown = pieces.map { matcher.feed($0) }
    shown.append(matcher.flush())
    #expect(matcher.hasMatched == (matcher.matched != nil))
    return (shown, matcher.matched)
  }

  /// What should be shown: the text up to the stop string that is complete first; of several that
  /// end together, up to the one that begins first.
  private func expected(_ text: String, _ stops: [String]) -> (shown: String, matched: Bool) {
    let bytes = Array(text.utf8)
    let stops = stops.map { Array($0.utf8) }.filter { !$0.isEmpty }
    for end in bytes.indices.map({ $0 + 1 }) {
      let starts = stops.filter { bytes[..<end].suffix($0.count) == $0[...] }.map { end - $0.count }
      if let start = starts.min() {
        return (String(decoding: bytes[..<start], as: UTF8.self), true)
      }
    }
    return (text, false)
  }

  @Test func `without stop strings everything passes at once`() {
    #expect(feed(["a", "", "bc"], []) == (["a", "", "bc", ""], false))
    #expect(feed(["a", "bc"], ["", ""]) == (["a", "bc", ""], false))
  }

  @Test func `text that may begin a stop string waits until it is clear`() {
    #expect(feed(["ab", "x", "abc", "d"], ["abcd"]) == (["", "abx", "", "", ""], true))
    #expect(feed(["one a", "b"], ["abc"]) == (["one ", "", "ab"], false))
  }

  @Test func `after a match nothing is shown`() {
    #expect(feed(["hello\nUser", ": more", "end"], ["\nUser:"]) == (["hello", "", "", ""], true))
    #expect(feed(["STOP", "more"], ["STOP"]) == (["", "", ""], true))
  }

  @Test func `a beginning within a beginning is found`() {
    // Behind aab comes another a that begins the stop anew.
    #expect(feed(["aa", "ab"], ["aab"]) == (["", "a", ""], true))
    #expect(feed(["ab", "ab", "ac"], ["abac"]) == (["", "ab", "", ""], true))
  }

  @Test func `the stop string that is complete first ends the text, however it is cut`() {
    let text = "xabcdy"
    let stops = ["abcd", "bc"]
    for cut in 0...6 {
      let pieces = [String(text.prefix(cut)), String(text.dropFirst(cut))]
      let (shown, matched) = feed(pieces, stops)
      #expect(shown.joined() == "xa", "cut at \(cut)")
      #expect(matched)
    }
  }

  @Test func `the stop string that matched is told`() {
    #expect(feedAll(["one\nUs", "er: two"], ["\nUser:", "two"]).stop == "\nUser:")
    #expect(feedAll(["one two"], ["\nUser:", "two"]).stop == "two")
    #expect(feedAll(["one two"], ["three", ""]).stop == nil)
    // Of two that end together, the longer one ends the text, so that is the one.
    #expect(feedAll(["abc"], ["c", "bc"]) == (["a", ""], "bc"))
  }

  @Test func `a stop string of several bytes a letter never splits one`() {
    let (shown, matched) = feed(["grü", "ß", "e 👋", "🏽 Ω"], ["ße!", "👋🏽"])
    #expect(shown == ["grü", "", "ße ", "", ""])
    #expect(matched)
    // é as one scalar and as e with an accent are different bytes: no match.
    #expect(feed(["caf\u{E9}"], ["cafe\u{301}"]) == (["caf\u{E9}", ""], false))
  }

  @Test(.seeded(default: 62)) func `random cuts show what a search of the whole text shows`() {
    var random = SeededRandom(testSeed(default: 62))
    // Few letters, so that beginnings, overlaps and matches are frequent.
    let letters: [Character] = ["a", "b", "é", "👋"]
    func text(_ lengths: ClosedRange<Int>) -> String {
      String(
        (0..<Int.random(in: lengths, using: &random)).map { _ in
          letters.randomElement(using: &random) ?? "a"
        }
      )
    }
    var matches = 0
    for _ in 0..<fuzzIterations(default: 3000) {
      let whole = text(0...14)
      let stops = (0..<Int.random(in: 1...3, using: &random)).map { _ in text(0...5) }
      var pieces: [String] = []
      var rest = whole[...]
      while !rest.isEmpty {
        let piece = rest.prefix(Int.random(in: 0...4, using: &random))
        pieces.append(String(piece))
        rest = rest.dropFirst(piece.count)
      }
      let want = expected(whole, stops)
      let (shown, matched) = feed(pieces, stops)
      matches += matched ? 1 : 0
      #expect(shown.joined() == want.shown, "\(pieces) with \(stops)")
      #expect(matched == want.matched, "\(pieces) with \(stops)")
      // At no time was more shown than may ever be.
      var soFar = ""
      for part in shown {
        soFar += part
        #expect(want.shown.hasPrefix(soFar) || soFar.isEmpty, "\(pieces) with \(stops)")
      }
    }
    #expect(matches > 100)
  }
}
