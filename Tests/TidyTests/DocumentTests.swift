// Documents and stored values that must follow the code.

import TestSupport
import Testing

@Suite struct `Documents` {
  @Test func `each op has a row in the porting matrix`() throws {
    let source = try #require(Checkout.text("Sources/Compute/Op.swift"))
    let code = SourceText(source, swift: true).text
    let body = try #require(code.split(separator: "enum Op").last)
    let ops = body.matches(of: #/case (\w+)\(/#).map { String($0.output.1) }
    #expect(ops.count > 10, "only \(ops) were found: the search is broken")
    let matrix = try #require(Checkout.text("kernels/README.md"), "kernels/README.md is missing")
    let rows = matrix.split(separator: "\n").filter { $0.hasPrefix("|") }
    for op in ops {
      let hasRow = rows.contains { row in
        row.split(separator: "|").first?.split { !$0.isLetter && !$0.isNumber }
          .contains(Substring(op)) == true
      }
      #expect(hasRow, "kernels/README.md has no row for \(op)")
    }
  }

  @Test func `stored goldens are those that PROVENANCE.md tells of`() throws {
    let check = try Checkout.run(
      "--chdir=Tests/Goldens",
      "sha256sum",
      "--check",
      "--quiet",
      "SHA256SUMS"
    )
    #expect(check.status == 0, "\(check.output)")
  }

  @Test func `a link to a file of the project leads somewhere`() {
    var seen = 0
    for file in Checkout.files where file.path.hasSuffix(".md") {
      let folder = file.path.split(separator: "/").dropLast().map(String.init)
      for link in file.text.matches(of: #/\]\(([^)#:\s]+)(?:#[^)]*)?\)/#) {
        var parts = folder
        for part in link.output.1.split(separator: "/") {
          if part == ".." { _ = parts.popLast() } else if part != "." { parts.append(String(part)) }
        }
        let target = parts.joined(separator: "/")
        let exists = Checkout.exists(target)
        #expect(exists, "\(file): \(link.output.1) leads nowhere")
        seen += 1
      }
    }
    #expect(seen > 5, "only \(seen) links were found: the search is broken")
  }
}
