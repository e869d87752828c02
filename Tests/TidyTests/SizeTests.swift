// Sizes, as a ratchet: what is larger than the house's guidance stands here with its reason. The
// lists shrink freely (an entry that is no longer needed fails) and grow only in review.

import Testing

private let functionLineLimit = 70
private let fileLineLimit = 600

/// Functions over the limit: `path: name` and why it is one function.
private let longFunctions: [String: String] = [:]

/// Files over the limit, and why each is one subject.
private let longFiles: [String: String] = [
  "proto/trestle.proto": "one document with every message, whose order tells who answers whom"
]

@Suite struct `Sizes` {
  @Test func `a function over 70 lines has a reason`() {
    var long: Set<String> = []
    var count = 0
    for file in Checkout.sources where file.isSwift || file.isC {
      for function in FunctionLength.measure(file) {
        count += 1
        guard function.lineCount > functionLineLimit else { continue }
        let key = "\(file): \(function.name)"
        long.insert(key)
        #expect(
          longFunctions[key] != nil,
          "\(file):\(function.line): \(function.name) has \(function.lineCount) lines"
        )
      }
    }
    #expect(count > 100, "only \(count) functions were found: the search is broken")
    for key in longFunctions.keys {
      #expect(long.contains(key), "\(key) is not too long any more: take it off the list")
    }
  }

  @Test func `a file over 600 lines has a reason`() {
    var long: Set<String> = []
    for file in Checkout.sources {
      let lineCount = file.text.count { $0 == "\n" }
      guard lineCount > fileLineLimit else { continue }
      long.insert(file.path)
      #expect(longFiles[file.path] != nil, "\(file) has \(lineCount) lines")
    }
    for path in longFiles.keys {
      #expect(long.contains(path), "\(path) is not too long any more: take it off the list")
    }
  }
}
