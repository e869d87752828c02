// `trestle keys`: this machine's keys, and the keys that it lets in.

import ArgumentParser
import Wire

struct KeysCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "keys",
    abstract: "Show this machine's public key, and choose which keys are let in.",
    discussion: """
      Between machines, the coordinator, workers and clients identify each other by keys. On each \
      machine `trestle keys` makes a pair and shows the public key. The coordinator's machine must \
      allow the key of every machine with workers or clients; these need the coordinator's key:

        trestle keys allow 'KEY' --name laptop     (at the coordinator's machine)
        trestle status --endpoint tcp://HOST:PORT --server-key 'KEY'

      A key may do everything unless --may names its roles: `ask` sends prompts, `work` joins as a \
      worker, `operate` moves layers, drains workers and tests devices. Every key that is let in \
      sees status and health. Run `allow` again with another --may to change a key's roles.

      Put keys in single quotes, because they contain characters that a shell would interpret. \
      Changes take effect while a pipeline runs: within seconds of `forget`, the requests of the key \
      end and its workers are disconnected.
      """,
    subcommands: [Show.self, Allow.self, List.self, Forget.self],
    defaultSubcommand: Show.self
  )

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show this machine's public key; make the keys first if there are none."
    )

    @Flag(help: "Print one JSON document.")
    var json = false

    @OptionGroup var keys: KeyDirectoryOptions

    func run() throws {
      try reportingFailures {
        let directory = try keys.resolve()
        let (own, isNew) = try directory.makeKeyPair()
        if json {
          try printOut(
            try trestle.json(
              OwnKeyDocument(
                publicKey: own.publicKey.description,
                secretPath: directory.secretPath,
                created: isNew
              )
            )
          )
        } else {
          try printOut("\(own.publicKey)")
          printError(
            "\(isNew ? "made new keys; " : "")the secret key is in \(directory.secretPath)"
          )
        }
      }
    }
  }

  struct Allow: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Let a key in, or change its roles."
    )

    @Argument(help: ArgumentHelp("The public key, in single quotes.", valueName: "public-key"))
    var key: String

    @Option(help: ArgumentHelp("A name for the key. Default: key-1, key-2, …", valueName: "name"))
    var name: String?

    @Option(
      help: ArgumentHelp(
        "The roles of the key: some of ask,work,operate. Default: all.",
        valueName: "roles"
      )
    )
    var may: String?

    @OptionGroup var keys: KeyDirectoryOptions

    func run() throws {
      try reportingFailures {
        let directory = try keys.resolve()
        let key = try PublicKey(key)
        let roles = try may.map { try Role.parse($0) }
        let allowed = try directory.change { list throws -> String in
          // For a key that is in the list already, --may replaces its roles.
          if let roles, let entry = list[key], name ?? entry.name == entry.name {
            list.set(roles, of: key)
            return entry.name
          }
          let name = name ?? list.freeName
          try list.add(key, name: name, roles: roles ?? Role.all)
          return name
        }
        try printOut("\(allowed) is allowed" + (roles.map { " to \(Role.text($0))" } ?? ""))
      }
    }
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show the keys that are let in.")

    @Flag(help: "Print one JSON document.")
    var json = false

    @OptionGroup var keys: KeyDirectoryOptions

    func run() throws {
      try reportingFailures {
        let entries = try keys.resolve().allowed().entries
        if json {
          try printOut(
            try trestle.json(
              KeyListDocument(
                keys: entries.map {
                  KeyListDocument.Key(
                    name: $0.name,
                    publicKey: $0.key.description,
                    may: Role.allCases.filter($0.roles.contains).map(\.rawValue)
                  )
                }
              )
            )
          )
        } else if !entries.isEmpty {
          let rows = entries.map { [$0.name, "\($0.key)", Role.text($0.roles)] }
          try printOut(table(["name", "public key", "may"], rows))
        }
      }
    }
  }

  struct Forget: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Stop letting a key in, end its requests and disconnect its workers."
    )

    @Argument(
      help: ArgumentHelp("The name of the key, or the key itself.", valueName: "name-or-key")
    )
    var nameOrKey: String

    @OptionGroup var keys: KeyDirectoryOptions

    func run() throws {
      try reportingFailures {
        let directory = try keys.resolve()
        let entry = try directory.change { list throws -> KeyList.Entry in
          guard let entry = list.remove(nameOrKey) else {
            throw CommandError("\(directory.allowedPath) has no key or name \"\(nameOrKey)\"")
          }
          return entry
        }
        try printOut("\(entry.name) is forgotten")
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
    var may: [String]
  }

  var keys: [Key]
}
