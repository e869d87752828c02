// Which keys may do what at a coordinator, by its list of keys. The list is a file that may change
// at any time, so what was allowed when a connection was made may be forbidden later.

internal import Platform

/// What each key may do, at one moment.
package struct Access: Sendable, Hashable {
  package struct Holder: Sendable, Hashable {
    /// The name that the list gives to the key.
    package let name: String
    package let roles: Set<Role>
  }

  private let holders: [PublicKey: Holder]

  /// - Parameters:
  ///   - own: The key of the coordinator's own machine, which may do everything.
  ///   - list: The other keys.
  package init(own: PublicKey, _ list: KeyList) {
    var holders: [PublicKey: Holder] = [:]
    for entry in list.entries {
      holders[entry.key] = Holder(name: entry.name, roles: entry.roles)
    }
    holders[own] = Holder(name: "this machine", roles: Role.all)
    self.holders = holders
  }

  /// Returns the holder of a key; nil if the key is not let in.
  package subscript(key: PublicKey) -> Holder? { holders[key] }
}

/// The list of a directory of keys, read again for each new connection and at least each second.
package final class AccessList: Sendable {
  private struct State {
    var access: Access
    var isNew = true
    /// Why the last read of the file failed; nil if it succeeded.
    var failure: String?
  }

  private let own: PublicKey
  private let directory: KeyDirectory
  private let onFailure: @Sendable (WireError) -> Void
  private let state: Lock<State>

  /// Reads the list.
  ///
  /// - Parameters:
  ///   - own: The coordinator's own key.
  ///   - directory: Where the list is.
  ///   - onFailure: Receives the error, once, when the file can no longer be read. Called on any
  ///     thread.
  /// - Throws: `WireError` with code `key` if the list cannot be read.
  package init(
    own: PublicKey,
    in directory: KeyDirectory,
    onFailure: @escaping @Sendable (WireError) -> Void
  ) throws(WireError) {
    self.own = own
    self.directory = directory
    self.onFailure = onFailure
    state = Lock(State(access: Access(own: own, try directory.allowed())))
  }

  /// Whether a key may connect, by the current content of the file.
  ///
  /// While the file cannot be read, only this machine's own key may make new connections.
  package func allows(_ key: PublicKey) -> Bool {
    key == own || (refresh() && state.withLock { $0.access[key] != nil })
  }

  /// Reads the file; returns false if it cannot be read.
  ///
  /// After a failure the last list that was read stays in force for those who are connected: a
  /// mistake in the file must not end their work.
  @discardableResult
  package func refresh() -> Bool {
    do throws(WireError) {
      let access = Access(own: own, try directory.allowed())
      state.withLock { state in
        state.failure = nil
        guard access != state.access else { return }
        state.access = access
        state.isNew = true
      }
      return true
    } catch {
      let isNews = state.withLock { state in
        defer { state.failure = "\(error)" }
        return state.failure != "\(error)"
      }
      if isNews { onFailure(error) }
      return false
    }
  }

  /// Returns the current access, once per change, and once at the start; nil otherwise.
  package func takeChange() -> Access? {
    state.withLock { state in
      defer { state.isNew = false }
      return state.isNew ? state.access : nil
    }
  }
}
