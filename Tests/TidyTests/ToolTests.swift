// The tidy tests' own tools: a search that finds nothing passes everything.

import Testing

@Suite struct `Tidy tools` {
  private func functions(_ text: String, path: String = "Sources/A/A.swift") -> [String] {
    FunctionLength.measure(ProjectFile(path: path, text: text)).map { "\($0.name) \($0.lineCount)" }
  }

  @Test func `comments and strings are blanked, line by line`() {
    let source = #"""
      let a = "}" // {
      let b = "\(f("}")) }" /* { /* } */ { */ + #"\"}"#
      let c = """
        } "quoted" {
        """
      """#
    let code = SourceText(source, swift: true).text
    #expect(!code.contains("{") && !code.contains("}"))
    #expect(code.count { $0 == "\n" } == source.count { $0 == "\n" })
    #expect(code.contains("let a =") && code.contains("let b =") && code.contains("let c ="))
  }

  @Test func `C comments, characters and directives are blanked`() {
    let source = #"""
      #define A \
        {
      int x = '{'; // {
      /* /* { */ char *s = "\"{";
      """#
    let code = SourceText(source, swift: false)
    #expect(!code.text.contains("{"))
    #expect(code.text.contains("char *s ="))
  }

  @Test func `Swift functions are measured from name to closing brace`() {
    let source = #"""
      protocol P {
        func requirement(_ x: Int) -> Int
        init()
      }
      struct S {
        init(a: Int) {
          self.init()
        }
        func `a sentence`() throws(E) -> [Int]
        where A: B {
          let s = "{"
          func inner() {}
          return list.map { $0 }
        }
      }
      """#
    #expect(functions(source) == ["init 3", "a sentence 6", "inner 1"])
  }

  @Test func `C functions are measured, types and data are not`() {
    let source = """
      struct s { int a; };
      static const int table[] = {1, 2};
      static void kernel(const float *x,
                         int n) {
        for (;;) {
        }
      }
      """
    #expect(functions(source, path: "kernels/cpu/a.c") == ["kernel 4"])
  }

  @Test func `the manifest's table is read`() throws {
    let manifest = """
      let logging: Target.Dependency = .product(
        name: "Logging", package: "swift-log")
      // .target(name: "Comment")
        .target(
          name: "A", dependencies: ["B", logging],
          swiftSettings: strict),
        .target(name: "B", path: "kernels/b"), .testTarget(name: "ATests", dependencies: ["A"]),
      """
    let targets = Manifest.targets(manifest)
    try #require(targets.map(\.name) == ["A", "B", "ATests"])
    #expect(targets[0].dependencies == ["B", "Logging"])
    #expect(targets.map(\.path) == ["Sources/A", "kernels/b", "Tests/ATests"])
  }
}
