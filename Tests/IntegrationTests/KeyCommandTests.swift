// `trestle keys`, and the errors of commands that lack a key.

import Foundation
import TestSupport
import Testing

extension Integration {
  @Suite struct `Key commands` {
    private struct List: Decodable {
      struct Key: Decodable, Equatable {
        var name: String
        var publicKey: String
        var may = ["ask", "work", "operate"]
      }
      var keys: [Key]
    }

    private func keys(_ arguments: [String], in directory: String) async throws -> Outcome {
      try await TrestleProcess.run(["keys"] + arguments + ["--keys", directory])
    }

    @Test func `keys are made once, in the directory of the environment`() async throws {
      try await withTemporaryDirectory { directory in
        let environment = ["XDG_CONFIG_HOME": directory]
        let first = try await TrestleProcess.run(["keys"], environment: environment)
        let again = try await TrestleProcess.run(["keys"], environment: environment)
        #expect(first.status == 0 && again.status == 0, "\(first)")
        #expect(first.output == again.output && first.output.utf8.count == 41)
        #expect(first.errors.contains("made new keys") && !again.errors.contains("made new keys"))
        let path = "\(directory)/trestle/keys/secret"
        #expect(again.errors.contains(path))
        let secret = try String(contentsOfFile: path, encoding: .utf8)
        #expect(!(first.output + first.errors).contains(secret.dropLast()))
      }
    }

    @Test func `allowed keys are listed by name until they are forgotten`() async throws {
      try await withTemporaryDirectory { directory in
        let hub = try await Machine("hub", in: directory)
        let east = try await Machine("east", in: directory)
        let west = try await Machine("west", in: directory)
        try await hub.allow(east, name: "east")
        let unnamed = try await keys(["allow", west.publicKey], in: hub.directory)
        #expect(unnamed.output == "key-1 is allowed\n", "\(unnamed)")
        let list = try await keys(["list", "--json"], in: hub.directory).document(List.self)
        #expect(
          list.keys == [
            List.Key(name: "east", publicKey: east.publicKey),
            List.Key(name: "key-1", publicKey: west.publicKey),
          ]
        )
        #expect(try await keys(["forget", "east"], in: hub.directory).status == 0)
        #expect(try await keys(["forget", west.publicKey], in: hub.directory).status == 0)
        let rest = try await keys(["list", "--json"], in: hub.directory).document(List.self)
        #expect(rest.keys.isEmpty)
      }
    }

    @Test func `what a key may do is listed, and changed by saying it again`() async throws {
      try await withTemporaryDirectory { directory in
        let hub = try await Machine("hub", in: directory)
        let east = try await Machine("east", in: directory)
        let allow = ["allow", east.publicKey, "--name", "east", "--may"]
        #expect(try await keys(allow + ["ask"], in: hub.directory).status == 0)
        let again = try await keys(allow + ["operate,ask"], in: hub.directory)
        #expect(again.output == "east is allowed to ask,operate\n", "\(again)")
        let list = try await keys(["list", "--json"], in: hub.directory).document(List.self)
        #expect(list.keys.map(\.may) == [["ask", "operate"]])
        let text = try await keys(["list"], in: hub.directory).output
        #expect(text.contains("ask,operate"), "\(text)")
        let wrong = try await keys(allow + ["ask,rule"], in: hub.directory)
        #expect(wrong.status == 1 && wrong.errors.contains("\"rule\" is not a role"), "\(wrong)")
      }
    }

    @Test func `of changes at the same time all are kept`() async throws {
      try await withTemporaryDirectory { directory in
        let hub = try await Machine("hub", in: directory)
        var machines: [Machine] = []
        for number in 0..<11 { machines.append(try await Machine("\(number)", in: directory)) }
        let hubKeys = ["--keys", hub.directory]
        try await hub.allow(hub, name: "old")
        var processes = [try TrestleProcess(["keys", "forget", "old"] + hubKeys)]
        for (number, machine) in machines.enumerated() {
          processes.append(
            try TrestleProcess(
              ["keys", "allow", machine.publicKey, "--name", "m\(number)"] + hubKeys
            )
          )
        }
        for process in processes { #expect(try await process.wait().status == 0) }
        let list = try await keys(["list", "--json"], in: hub.directory).document(List.self)
        #expect(Set(list.keys.map(\.publicKey)) == Set(machines.map(\.publicKey)))
      }
    }

    @Test func `relative directories of the environment are passed over`() async throws {
      try await withTemporaryDirectory { directory in
        let kept = ["XDG_CONFIG_HOME": "config", "HOME": directory]
        let outcome = try await TrestleProcess.run(["keys"], environment: kept)
        #expect(outcome.errors.contains("\(directory)/.config/trestle/keys/secret"), "\(outcome)")
        let nowhere = ["XDG_CONFIG_HOME": "", "HOME": "home"]
        let refused = try await TrestleProcess.run(["keys"], environment: nowhere)
        #expect(refused.status == 1 && refused.errors.contains("--keys"), "\(refused)")
        #expect(!FileManager.default.fileExists(atPath: "home"))
        #expect(!FileManager.default.fileExists(atPath: "config"))
      }
    }

    @Test func `what is wrong with a key is said in one line`() async throws {
      try await withTemporaryDirectory { directory in
        let hub = try await Machine("hub", in: directory)
        let east = try await Machine("east", in: directory)
        try await hub.allow(east, name: "east")
        let status = ["status", "--endpoint", "tcp://192.0.2.1:7000", "--keys", hub.directory]
        let cases: [(arguments: [String], parts: [String])] = [
          (["keys", "allow", "nonsense", "--keys", hub.directory], ["40 characters"]),
          (["keys", "allow", east.publicKey, "--keys", hub.directory], ["there already", "east"]),
          (["keys", "forget", "north", "--keys", hub.directory], ["north"]),
          (status, ["tcp://192.0.2.1:7000", "--server-key"]),
          (status + ["--server-key", "north"], ["north", "east"]),
        ]
        for (arguments, parts) in cases {
          let outcome = try await TrestleProcess.run(arguments)
          #expect(outcome.status == 1 && outcome.output.isEmpty, "\(outcome)")
          #expect(outcome.errors.split(separator: "\n").count == 1, "\(outcome)")
          for part in parts { #expect(outcome.errors.contains(part), "\(part): \(outcome)") }
        }
        try "no key\n".write(
          toFile: "\(hub.directory)/allowed",
          atomically: false,
          encoding: .utf8
        )
        for arguments in [
          ["keys", "list", "--keys", hub.directory],
          ["coordinate", "--model", Goldens.demoModel.path, "--endpoint", "tcp://127.0.0.1:1"]
            + ["--keys", hub.directory],
        ] {
          let outcome = try await TrestleProcess.run(arguments)
          #expect(outcome.status == 1, "\(outcome)")
          #expect(outcome.errors.contains("\(hub.directory)/allowed, line 1"), "\(outcome)")
        }
      }
    }
  }
}
