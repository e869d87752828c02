// House rules that a search can check. CONTRIBUTING.md says why each is one.

import Testing

@Suite struct `House rules` {
  @Test func `an open end is an issue or a decision record, not a note in the code`() {
    // Put together here, so that this file does not find itself.
    let words = ["TO" + "DO", "FIX" + "ME", "X" + "XX"]
    for file in Checkout.sources {
      for word in words where file.text.contains(word) {
        for (index, line) in file.lines.enumerated() {
          let found = line.split { !$0.isLetter }.contains(Substring(word))
          #expect(!found, "\(file):\(index + 1): \(line)")
        }
      }
    }
  }

  @Test func `library modules do not print`() {
    for file in Checkout.sources where isLibrary(file) {
      let code = SourceText(file.text, swift: file.isSwift).text
        .split(separator: "\n", omittingEmptySubsequences: false)
      for (index, line) in code.enumerated() where line.contains("rint") {
        let prints = line.contains(#/\b(print|debugPrint|printf)\s*\(/#)
        #expect(!prints, "\(file):\(index + 1): stdout is the commands' own")
      }
    }
  }

  @Test func `every source opens by saying what it holds`() {
    for file in Checkout.sources {
      var lines = file.lines[...]
      if lines.first?.hasPrefix("#!") == true { lines = lines.dropFirst() }
      let first = lines.first ?? ""
      let opens = ["// ", "/* ", "# ", "\"\"\"", "#pragma once"].contains { first.hasPrefix($0) }
      #expect(opens, "\(file): the first line is no comment: \(first)")
    }
  }

  /// A type `Wire` in the module Wire would hide the module: `Wire.Frame` is no longer found.
  @Test func `no module has a type of its own name`() {
    for file in Checkout.sources where file.isSwift {
      guard let module = file.module, file.text.contains(" \(module)") else { continue }
      let code = SourceText(file.text, swift: true).text
      for keyword in ["struct", "class", "enum", "actor", "protocol", "typealias"] {
        let words = code.split { !$0.isLetter && !$0.isNumber && $0 != "_" }
        let declared = zip(words, words.dropFirst()).contains {
          $0 == Substring(keyword) && $1 == Substring(module)
        }
        #expect(!declared, "\(file) declares \(keyword) \(module)")
      }
    }
  }

  @Test func `nothing names a path of somebody's machine`() {
    let pattern = #/(?:^|[\s"'`(=:<|,])/(?:work|home|root|Users|tmp|farm)/[A-Za-z0-9_]/#
    for file in Checkout.files {
      // A template for mkdtemp names no path yet.
      for (index, line) in file.lines.enumerated()
      where line.contains("/") && !line.contains("XXXXXX") {
        #expect(line.firstMatch(of: pattern) == nil, "\(file):\(index + 1): \(line.prefix(120))")
      }
    }
  }

  @Test func `what the compiler is asked to believe has its reason beside it`() {
    for file in Checkout.sources where file.isSwift && file.path.hasPrefix("Sources/") {
      let code = SourceText(file.text, swift: true).text
        .split(separator: "\n", omittingEmptySubsequences: false)
      for (index, line) in code.enumerated()
      where line.contains("@unchecked Sendable") || line.contains("nonisolated(unsafe)") {
        let above = file.lines[..<index].last {
          !$0.drop { $0 == " " }.hasPrefix("@")
        }
        let reasoned =
          above?.drop { $0 == " " }.hasPrefix("//") == true || file.lines[index].contains("//")
        #expect(reasoned, "\(file):\(index + 1): no comment says why this is true")
      }
    }
  }

  @Test func `scripts stop at the first error, from any directory`() {
    let scripts = Checkout.sources.filter { $0.text.hasPrefix("#!/usr/bin/env bash") }
    #expect(scripts.count >= 5)
    for file in scripts {
      #expect(file.text.contains("\nset -euo pipefail\n"), "\(file): no set -euo pipefail")
    }
  }

  private func isLibrary(_ file: ProjectFile) -> Bool {
    guard file.isSwift || file.isC else { return false }
    let inSources =
      file.path.hasPrefix("Sources/") && !["trestle", "GrammarLab"].contains(file.module)
    return inSources || file.path.hasPrefix("kernels/") || file.path.hasPrefix("proto/")
  }
}
