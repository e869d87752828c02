// Failed writes are reported, by the exit status and by a line on stderr.

import Foundation
import Glibc
import TestSupport
import Testing

extension Integration {
  @Suite struct `Silence` {
    private static let model = Goldens.demoModel.path

    private static let commands = [
      ["run", "--model", model, "hi", "--max-tokens", "3", "--devices", "cpu"],
      ["run", "--model", model, "hi", "--max-tokens", "3", "--devices", "cpu", "--json"],
      ["tokenize", "--model", model, "hi"], ["tokenize", "--model", model, "hi", "--json"],
      ["detokenize", "--model", model, "--tokens", "300"], ["inspect", model],
      ["plan", "--model", model, "--devices", "cpu"], ["doctor"], ["--version"], ["run", "--help"],
    ]

    @Test(arguments: commands)
    func `a result that stdout has no room for is a failure with its reason`(
      _ command: [String]
    ) async throws {
      let full = try await TrestleProcess.run(command, shell: #"exec "$0" "$@" >/dev/full"#)
      #expect(full.status == 1, "\(full)")
      #expect(full.errors.contains("error: cannot write to stdout: No space left"), "\(full)")
      let closed = try await TrestleProcess.run(command, shell: #"exec "$0" "$@" >&-"#)
      #expect(closed.status == 1, "\(closed)")
      #expect(closed.errors.contains("error: cannot write to stdout: Bad file desc"), "\(closed)")
    }

    @Test func `a reader that has seen enough ends the command quietly, and its pipeline`()
      async throws
    {
      try await withTemporaryDirectory { directory in
        let outcome = try await TrestleProcess.run(
          ["run", "--model", Self.model, "Tell me a story", "--max-tokens", "3000", "--seed", "1"]
            + ["--temperature", "0.8", "--devices", "cpu"],
          environment: ["TMPDIR": directory],
          shell: #"{ "$0" "$@"; echo "$?" >&2; } | head -c 5"#
        )
        #expect(outcome.output.utf8.count == 5, "\(outcome)")
        #expect(outcome.errors == "141\n", "\(outcome)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty)
      }
    }

    @Test func `a command whose reader sleeps hears the interrupt`() async throws {
      try await withCluster { cluster in
        // The pipe is full before the answer begins; `timeout` waits until the command has ended.
        let outcome = try await TrestleProcess.run(
          ["run", "--endpoint", cluster.endpoint, "--max-tokens", "500", "Tell me a story"],
          shell: #"{ head -c 65536 /dev/zero; timeout -s INT 2 "$0" "$@"; "#
            + #"echo "$?" >&2; } | sleep 8"#
        )
        #expect(outcome.errors == "124\n", "\(outcome)")
        let isFree = try await eventually(within: .seconds(5)) {
          try await cluster.status().sessions == 0
        }
        #expect(isFree)
      }
    }

    @Test func `options of a pipeline are refused where another one runs`() async throws {
      for option in [["--split", "10,20"], ["--kv-cache", "q8_0"], ["--context", "100"]] {
        let outcome = try await TrestleProcess.run(["run", "hi"] + option)
        #expect(outcome.status == 64, "\(outcome)")
        #expect(
          outcome.errors.contains("\(option[0]): this command cannot change the pipeline"),
          "\(outcome)"
        )
      }
    }

    @Test func `standard descriptors that are closed are nobody else's`() async throws {
      let text = try await TrestleProcess.run(
        ["tokenize", "--model", Self.model, "-"],
        shell: #"exec "$0" "$@" <&-"#
      )
      #expect(text.status == 1 && text.errors.contains("stdin"), "\(text)")
      #expect(!text.errors.contains("NSCocoaErrorDomain"), "\(text)")
      try await withTemporaryDirectory { directory in
        let path = "\(directory)/logits.npy"
        let logits = ["logits", "--model", Self.model, "--tokens", "2,3", "--output", path]
        let outcome = try await TrestleProcess.run(logits, shell: #"exec "$0" "$@" <&- >&- 2>&-"#)
        #expect(outcome.status == 0, "\(outcome)")
        #expect(try NPYFile(path).shape.first == 2)
      }
    }

    @Test func `output goes to a link, a pipe or a device as it is, and replaces a file whole`()
      async throws
    {
      try await withTemporaryDirectory { directory in
        func logits(_ output: String) -> [String] {
          ["logits", "--model", Self.model, "--tokens", "2,3", "--output", output]
        }
        let path = "\(directory)/a.npy"
        #expect(try await TrestleProcess.run(logits(path)).status == 0)
        let expected = try Data(contentsOf: URL(filePath: path))
        #expect(expected.count > 8192)

        let link = "\(directory)/link"
        let target = "\(directory)/target"
        try Data("old".utf8).write(to: URL(filePath: target))
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: target)
        #expect(try await TrestleProcess.run(logits(link)).status == 0)
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == target)
        #expect(try Data(contentsOf: URL(filePath: target)) == expected)

        let piped = try await TrestleProcess.run(
          logits("/dev/stdout") + [directory],
          // The last argument is the directory for the file that receives the pipe's content.
          shell: #"""
            for last; do :; done
            set -- "$1" "$2" "$3" "$4" "$5" "$6" "$7"
            { "$0" "$@" || echo failed >&2; } | cat > "$last/piped"
            """#
        )
        #expect(piped.errors.isEmpty, "\(piped)")
        #expect(try Data(contentsOf: URL(filePath: "\(directory)/piped")) == expected)

        let full = try await TrestleProcess.run(logits("/dev/full"))
        #expect(full.status == 1 && full.errors.contains("/dev/full"), "\(full)")
        let unread = "\(directory)/unread"
        try #require(unsafe mkfifo(unread, 0o600) == 0)
        let nobody = try await TrestleProcess.run(logits(unread), atMost: .seconds(10))
        #expect(nobody.status == 1 && nobody.errors.contains("nobody reads"), "\(nobody)")

        // If the new file cannot be completed, the old one stays in place.
        let limited = try await TrestleProcess.run(
          logits(path),
          shell: #"ulimit -f 1; exec "$0" "$@""#
        )
        #expect(limited.status == 1 && limited.errors.contains("File too large"), "\(limited)")
        #expect(try Data(contentsOf: URL(filePath: path)) == expected)
        let left = try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
        #expect(left == ["a.npy", "link", "piped", "target", "unread"])
      }
    }
  }
}
