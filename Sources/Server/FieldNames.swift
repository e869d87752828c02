// Errors of a request that was put into the terms of a chat, told in those of the interface that it came by.

/// What fields of a chat are called in another interface.
struct FieldNames {
  /// Where a message of the chat comes from.
  struct Place {
    var path: String
    /// The field of its content; empty if that is the field itself.
    var content = ".content"
  }

  private let names: Fields.Names
  /// By the places of the chat's messages.
  private let messages: [Place]

  init(_ names: Fields.Names, messages: [Place]) {
    self.names = names
    self.messages = messages
  }

  /// Runs a reader of a chat, and has its errors name what the client sent.
  func telling<Value>(_ read: () throws(APIError) -> Value) throws(APIError) -> Value {
    do throws(APIError) {
      return try read()
    } catch {
      guard let parameter = error.parameter else { throw error }
      var told = error
      let path = theirs(parameter)
      told.parameter = path
      // What an error says begins with the path of the field at fault.
      if error.message.hasPrefix(parameter) {
        told.message = path + error.message.dropFirst(parameter.count)
      }
      throw told
    }
  }

  /// Returns the path of a field in the other interface.
  func theirs(_ path: String) -> String {
    for (index, message) in messages.enumerated() {
      guard let rest = path.rest(behind: "messages[\(index)]") else { continue }
      if let inside = String(rest).rest(behind: ".content") {
        return message.path + message.content + inside
      }
      // A call is an item of its own there.
      return message.path + rest.replacing(".tool_calls[0].function", with: "")
    }
    // Of a tool's path the place in the middle stays.
    if path.hasPrefix("tools["), let end = path.firstIndex(of: "]") {
      let place = path[...end]
      let inside = String(path[path.index(after: end)...]).replacing(
        ".function",
        with: "",
        maxReplacements: 1
      )
      for name in names {
        if let rest = inside.rest(behind: ".\(name.ours)") {
          return "\(place).\(name.theirs)\(rest)"
        }
      }
      return place + inside
    }
    for name in names {
      if let rest = path.rest(behind: name.ours) { return name.theirs + rest }
    }
    return path
  }
}

extension String {
  /// Returns what follows a path in this one; nil if this one does not begin with it.
  fileprivate func rest(behind path: String) -> Substring? {
    guard hasPrefix(path) else { return nil }
    let rest = dropFirst(path.count)
    return rest.isEmpty || rest.hasPrefix(".") || rest.hasPrefix("[") ? rest : nil
  }
}
