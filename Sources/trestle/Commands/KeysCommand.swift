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

      A key may do all unless --may names what: `ask` sends prompts, `work` joins as a worker,
      `operate` moves layers, drains workers and tests devices. Status and health are shown to all
      that are let in. Said again with another --may, it changes what the key may do.

      Quote keys with ': they contain characters that a shell would take for its own. Changes hold at
      once, also while a pipeline runs: within seconds a forgotten key's requests end and its workers
      are let go.
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
      abstract: "Let in who has the secret key of a public key."
    )

    @Argument(help: ArgumentHelp("The public key, in '.", valueName: "public-key"))
    var key: String

    @Option(help: ArgumentHelp("What to call it. Default: key-1, key-2, …", valueName: "name"))
    var name: String?

    @Option(
      help: ArgumentHelp(
        "What it may do: some of ask,work,operate. Default: all.",
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
          // Said of a key that is there, --may changes what it may do.
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
    static let configuration = CommandConfiguration(abstract: "Show whose keys are let in.")

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
      abstract: "Let a key in no more, and end what it does here."
    )

    @Argument(help: ArgumentHelp("Its name, or the key itself.", valueName: "name-or-key"))
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
