// Unusual process environments: ignored signals, closed descriptors, refused system calls, odd
// variables. The program works in each, or reports it in one line.

import Foundation
import Glibc
import TestSupport
import Testing

extension Integration {
  @Suite struct `Surroundings` {
    private static let model = Goldens.demoModel.path

    /// A seccomp(2) filter of system calls like that of a container runtime with an old profile,
    /// for x86-64.
    private static let deny = """
      import ctypes, os, struct, sys
      code, numbers = int(sys.argv[1]), [int(n) for n in sys.argv[2].split(",")]
      rules = [struct.pack("HBBI", 0x20, 0, 0, 0)]
      for number in numbers:
          rules += [struct.pack("HBBI", 0x15, 0, 1, number), struct.pack("HBBI", 6, 0, 0, 0x50000 | code)]
      rules.append(struct.pack("HBBI", 6, 0, 0, 0x7FFF0000))
      buffer = ctypes.create_string_buffer(b"".join(rules))
      program = struct.pack("HxxxxxxQ", len(rules), ctypes.addressof(buffer))
      libc = ctypes.CDLL(None, use_errno=True)
      assert libc.prctl(38, 1, 0, 0, 0) == 0
      assert libc.prctl(22, 2, ctypes.create_string_buffer(program), 0, 0) == 0
      os.execv(sys.argv[3], sys.argv[3:])
      """

    private static var canDeny: Bool {
      #if arch(x86_64)
      return unsafe access("/usr/bin/python3", X_OK) == 0
      #else
      return false
      #endif
    }

    /// Runs a command in which the system calls with these numbers fail.
    private func run(
      _ arguments: [String],
      denying calls: String,
      with code: CInt
    ) async throws -> Outcome {
      try await TrestleProcess.run(
        arguments,
        environment: ["DENY": Self.deny],
        shell: #"exec /usr/bin/python3 -c "$DENY" \#(code) \#(calls) "$0" "$@""#,
        atMost: .seconds(15)
      )
    }

    private func prompt(in directory: String) -> [String] {
      ["run", "--model", Self.model, "hi", "--max-tokens", "3", "--devices", "cpu"]
    }

    @Test func `a signal that the caller ignores stays ignored`() async throws {
      try await withTemporaryDirectory { directory in
        let process = try TrestleProcess(
          [
            "up", "--model", Self.model, "--devices", "cpu", "--endpoint",
            "ipc://\(directory)/front",
          ],
          shell: #"trap "" HUP INT TERM; exec "$0" "$@""#
        )
        try await process.waitForOutput { $0 == "ready\n" }
        process.signal(SIGHUP)
        process.signal(SIGINT)
        try await Task.sleep(for: .milliseconds(500))
        #expect(process.isRunning)
        // SIGTERM must always end a service.
        process.signal(SIGTERM)
        #expect(try await process.wait(atMost: .seconds(8)).status == 0)
      }
    }

    @Test func `children that the caller does not wait for are waited for`() async throws {
      try await withTemporaryDirectory { directory in
        // bash refuses to ignore CHLD; env does not.
        let outcome = try await TrestleProcess.run(
          prompt(in: directory),
          shell: #"exec env --ignore-signal=CHLD "$0" "$@""#
        )
        #expect(outcome.status == 0, "\(outcome)")
      }
    }

    @Test(.enabled(if: canDeny, "needs x86-64 and /usr/bin/python3"))
    func `threads that cannot be made are an error within seconds`() async throws {
      try await withTemporaryDirectory { directory in
        let clone3 = "435"
        let commands = [
          prompt(in: directory),
          ["logits", "--model", Self.model, "--tokens", "2,3", "--output", "\(directory)/x.npy"],
          ["up", "--model", Self.model, "--endpoint", "ipc://\(directory)/front"],
          ["status", "--endpoint", "tcp://127.0.0.1:1", "--insecure"],
        ]
        for command in commands {
          let outcome = try await run(command, denying: clone3, with: EPERM)
          #expect(outcome.status == 1, "\(outcome)")
          #expect(outcome.errors.contains("error: "), "\(outcome)")
          #expect(outcome.errors.contains("thread"), "\(outcome)")
        }
      }
    }

    @Test(.enabled(if: canDeny, "needs x86-64 and /usr/bin/python3"))
    func `without pidfds workers are watched all the same`() async throws {
      try await withTemporaryDirectory { directory in
        let outcome = try await run(prompt(in: directory), denying: "434", with: EPERM)
        #expect(outcome.status == 0 && !outcome.output.isEmpty, "\(outcome)")
      }
    }

    @Test(.enabled(if: canDeny, "needs x86-64 and /usr/bin/python3"))
    func `a lock that the file system cannot give is not called another server`() async throws {
      try await withTemporaryDirectory { directory in
        let outcome = try await run(prompt(in: directory), denying: "73", with: ENOLCK)
        #expect(outcome.status == 1 && outcome.errors.contains("No locks available"), "\(outcome)")
        #expect(!outcome.errors.contains("served by"), "\(outcome)")
      }
    }

    @Test func `variables that are empty or relative are as if unset`() async throws {
      for value in ["", "relative"] {
        let outcome = try await TrestleProcess.run(
          ["status"],
          environment: ["XDG_RUNTIME_DIR": value]
        )
        #expect(outcome.status == 1, "\(outcome)")
        #expect(outcome.errors.contains("trestle-\(getuid())/front"), "\(outcome)")
      }
    }

    @Test func `minus one is a value: any seed, and as many tokens as the context holds`()
      async throws
    {
      let base = ["run", "--model", Self.model, "--devices", "cpu", "--raw", "--json"]
      let any = try await TrestleProcess.run(
        base + ["--seed", "-1", "--max-tokens", "3", "ROMEO:"]
      )
      #expect(any.status == 0, "\(any)")
      let whole = try await TrestleProcess.run(
        base + ["--max-tokens", "-1", "--context", "40", "--temperature", "0", "ROMEO:"]
      )
      let document: RunDocument = try whole.document()
      #expect(document.finishReason == "length")
      #expect(document.promptTokens + document.tokens.count == 40)
      for (flag, value) in [("--seed", "-2"), ("--max-tokens", "-2"), ("--temperature", "-1")] {
        let refused = try await TrestleProcess.run(["run", flag, value, "hi"])
        #expect(refused.status == 64 && refused.errors.contains(value), "\(refused)")
      }
    }

    @Test func `a name that resolves to nobody is refused at once`() async throws {
      // RFC 6761: names under .invalid never exist.
      let outcome = try await TrestleProcess.run(
        ["run", "--insecure", "--endpoint", "tcp://nobody.invalid:17", "hi"]
      )
      #expect(outcome.status == 1 && outcome.errors.contains("nobody.invalid"), "\(outcome)")
    }

    @Test(arguments: ["localhost", "lo", "[::1]"])
    func `a pipeline serves at a name, an interface and an IPv6 address`(host: String) async throws
    {
      let hasIPv6 = unsafe access("/proc/net/if_inet6", F_OK) == 0
      guard hasIPv6 || !host.hasPrefix("[") else { return }
      let endpoint = "tcp://\(host):\(try freePort())"
      let process = try TrestleProcess(
        ["up", "--model", Self.model, "--devices", "cpu", "--insecure", "--endpoint", endpoint]
      )
      try await process.waitForOutput { $0 == "ready\n" }
      let answer = try await TrestleProcess.run(
        ["run", "--insecure", "--endpoint", endpoint, "--max-tokens", "3", "hi"]
      )
      #expect(answer.status == 0, "\(answer)")
      process.signal(SIGTERM)
      #expect(try await process.wait(atMost: .seconds(8)).status == 0)
    }

    @Test func `coordinate and run say which workers are missing`() async throws {
      try await withTemporaryDirectory { directory in
        let endpoint = "ipc://\(directory)/front"
        let coordinator = try TrestleProcess(
          ["coordinate", "--model", Self.model, "--devices", "cpu,cpu", "--endpoint", endpoint]
        )
        try await coordinator.waitForErrors("missing=cpu-0,cpu-1")
        let client = try TrestleProcess(["run", "--endpoint", endpoint, "hi"])
        try await client.waitForErrors("cpu-0, cpu-1")
        for process in [client, coordinator] {
          process.signal(SIGTERM)
          _ = try await process.wait(atMost: .seconds(8))
        }
      }
    }

    @Test(.enabled(if: getuid() == 0, "needs root, to unmount /proc in a namespace of its own"))
    func `without proc a command does what it was asked`() async throws {
      let outcome = try await TrestleProcess.run(
        ["tokenize", "--model", Self.model, "hi"],
        shell: #"exec unshare -m sh -c 'umount -l /proc && exec "$0" "$@"' "$0" "$@""#
      )
      let usual = try await TrestleProcess.run(["tokenize", "--model", Self.model, "hi"])
      #expect(outcome.status == 0 && outcome.output == usual.output, "\(outcome)")
    }
  }
}
