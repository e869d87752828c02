// `trestle keys`: who this machine is to others, and whom it lets in.

import ArgumentParser
import Wire

struct KeysCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "keys",
    abstract: "Show this machine's public key, and choose whose keys are let in.",
    discussion: """
      Between machines, coordinator, workers and clients know each other by key. On each machine
      `trestle keys` makes a pair and shows its public half. The coordinator's machine must allow
      the key of every machine that works for it or asks it; these need the coordinator's key:

        trestle keys allow 'KEY' --name laptop          (on the coordinator's machine)
        trestle status --endpoint tcp://HOST:PORT --server-key 'KEY'

      Quote keys with ': they contain characters that a shell would take for its own. Keys that are
      allowed while a pipeline runs are let in at once; forgotten ones stay until they disconnect.
      """,
    subcommands: [Show.self, Allow.self, List.self, Forget.self],
    defaultSubcommand: Show.self
  )

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make this machine's keys if there are none, and show the public one."
    )

    @Flag(help: "Print one JSON document.")
    var json = false

    @OptionGroup var keys: KeyDirectoryOptions

    func run() throws {
      try reportingFailures {
        let directory = try keys.resolve()
        let (own, isNew) = try directory.makeKeyPair()
        if json {
          printOut(
            try trestle.json(
              OwnKeyDocument(
                publicKey: own.publicKey.description,
                secretPath: directory.secretPath,
                created: isNew
              )
            )
          )
        } else {
          printOut("\(own.publicKey)")
          printError(
            "\(isNew ? "made new keys; " : "")the secret key is in \(directory.secretPath)"
          )
        }
      }
    }
  }

  struct Allow: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Let in who has the secret key of a public key."
    )

    @Argument(help: ArgumentHelp("The public key, in '.", valueName: "public-key"))
    var key: String

    @Option(help: ArgumentHelp("What to call it. Default: key-1, key-2, …", valueName: "name"))
    var name: String?

    @OptionGroup var keys: KeyDirectoryOptions

    func run() throws {
      try reportingFailures {
        let directory = try keys.resolve()
        let key = try PublicKey(key)
        var list = try directory.allowed()
        let name = name ?? list.freeName
        try list.add(key, name: name)
        try directory.write(list)
        printOut("\(name) is allowed")
      }
    }
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show whose keys are let in.")

    @Flag(help: "Print one JSON document.")
    var json = false

    @OptionGroup var keys: KeyDirectoryOptions

    func run() throws {
      try reportingFailures {
        let entries = try keys.resolve().allowed().entries
        if json {
          printOut(
            try trestle.json(
              KeyListDocument(
                keys: entries.map {
                  KeyListDocument.Key(name: $0.name, publicKey: $0.key.description)
                }
              )
            )
          )
        } else if !entries.isEmpty {
          printOut(table(["name", "public key"], entries.map { [$0.name, "\($0.key)"] }))
        }
      }
    }
  }

  struct Forget: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Let a key in no more.")

    @Argument(help: ArgumentHelp("Its name, or the key itself.", valueName: "name-or-key"))
    var nameOrKey: String

    @OptionGroup var keys: KeyDirectoryOptions

    func run() throws {
      try reportingFailures {
        let directory = try keys.resolve()
        var list = try directory.allowed()
        guard let entry = list.remove(nameOrKey) else {
          throw CommandError("\(directory.allowedPath) has no key or name \"\(nameOrKey)\"")
        }
        try directory.write(list)
        printOut("\(entry.name) is forgotten")
      }
    }
  }
}

/// What `keys --json` prints.
private struct OwnKeyDocument: Encodable {
  var publicKey: String
  var secretPath: String
  var created: Bool
}

/// What `keys list --json` prints.
private struct KeyListDocument: Encodable {
  struct Key: Encodable {
    var name: String
    var publicKey: String
  }

  var keys: [Key]
}
