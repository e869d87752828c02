// What a hub says about a repository: which commit a revision is, and which files it has. The interface is that of
// huggingface.co (huggingface_hub: HfApi.list_repo_refs, list_repo_tree).

internal import Foundation

/// A file of a repository, at the hub or in the cache.
package struct HubFile: Sendable, Hashable {
  /// Relative to the repository; valid.
  package var path: String
  package var byteCount: Int
  /// What the content is called: its SHA-256 (64 digits), or git's digest of it (40 digits).
  package var object: String
}

/// The questions that a hub answers.
struct HubAPI {
  let settings: HubSettings
  let repository: RepositoryName
  let cancellation: Cancellation
  /// Called before the same is asked again.
  let onRetry: (HubError) -> Void

  private static let mostBytes = 16 << 20
  private static let mostPages = 100

  /// Returns the commit of a branch or a tag.
  func commit(of revision: String) throws(HubError) -> String {
    if ContentName.isCommit(revision) { return revision }
    let page = try get("\(settings.endpoint)/api/models/\(repository)/refs")
    let refs: Refs = try decode(page)
    let known = (refs.branches ?? []) + (refs.tags ?? []) + (refs.converts ?? [])
    guard let found = known.first(where: { $0.name == revision || $0.ref == revision }) else {
      let names = known.map(\.name).prefix(8).joined(separator: ", ")
      throw HubError(
        .missing,
        "has no revision \(revision)" + (names.isEmpty ? "" : "; it has \(names)"),
        context: "\(repository)"
      )
    }
    guard ContentName.isCommit(found.targetCommit) else {
      throw wrong("the commit of \(revision) is \(found.targetCommit.debugDescription)")
    }
    return found.targetCommit
  }

  private struct Refs: Decodable {
    struct Ref: Decodable {
      var name: String
      var ref: String?
      var targetCommit: String
    }
    var branches: [Ref]?
    var tags: [Ref]?
    var converts: [Ref]?
  }

  /// Returns the files of a commit, in the order of their paths.
  func files(of commit: String) throws(HubError) -> [HubFile] {
    var files: [HubFile] = []
    var next: String? =
      "\(settings.endpoint)/api/models/\(repository)/tree/\(commit)?recursive=true"
    var pageCount = 0
    while let url = next {
      pageCount += 1
      guard pageCount <= Self.mostPages else {
        throw wrong("the list of files has more than \(Self.mostPages) pages")
      }
      let page = try get(url)
      let entries: [Entry] = try decode(page)
      for entry in entries where entry.type == "file" { files.append(try file(entry)) }
      next = try nextPage(page.head)
    }
    let paths = Set(files.map(\.path))
    guard paths.count == files.count else { throw wrong("the list of files has one twice") }
    return files.sorted { $0.path < $1.path }
  }

  private struct Entry: Decodable {
    struct Large: Decodable {
      var oid: String
      var size: Int
    }
    var type: String
    var path: String
    var size: Int?
    var oid: String?
    var lfs: Large?
  }

  private func file(_ entry: Entry) throws(HubError) -> HubFile {
    guard FilePath.isValid(entry.path) else {
      throw wrong("a file is called \(entry.path.debugDescription)")
    }
    let size = entry.lfs?.size ?? entry.size ?? -1
    let object = entry.lfs?.oid ?? entry.oid ?? ""
    // A file in Git LFS is named by its SHA-256.
    guard size >= 0, ContentName.isObject(object), entry.lfs == nil || object.utf8.count == 64
    else {
      throw wrong("\(entry.path) has \(size) bytes and the digest \(object.debugDescription)")
    }
    return HubFile(path: entry.path, byteCount: size, object: object)
  }

  /// Returns the address of the next page: `Link: <URL>; rel="next"` (RFC 8288).
  private func nextPage(_ head: HTTPHead) throws(HubError) -> String? {
    guard let match = head.fields["link"]?.firstMatch(of: /<([^>]*)>\s*;\s*rel="?next"?/) else {
      return nil
    }
    let url = String(match.1)
    // The token goes with it.
    guard url.hasPrefix("\(settings.endpoint)/") else {
      throw wrong("the list of files goes on at \(url.debugDescription)")
    }
    return url
  }

  // MARK: Requests

  private struct Page {
    var head: HTTPHead
    var body: Data
  }

  private func get(_ url: String) throws(HubError) -> Page {
    let connection = try HTTPConnection(settings)
    var attempts = Attempts(cancellation)
    return try attempts.run(onRetry: onRetry) { () throws(HubError) in
      var body = Data()
      let head = try connection.get(
        url,
        isCancelled: { cancellation.isCancelled },
        onHead: { head throws(HubError) in
          guard head.status == 200 else { throw refusal(head, settings, repository, url) }
        },
        onBytes: { bytes throws(HubError) in
          body.append(contentsOf: bytes)
          guard body.count <= Self.mostBytes else {
            throw wrong("an answer has more than \(Self.mostBytes) bytes")
          }
        }
      )
      return Page(head: head, body: body)
    }
  }

  private func decode<Value: Decodable>(_ page: Page) throws(HubError) -> Value {
    do { return try JSONDecoder().decode(Value.self, from: page.body) } catch {
      let start = String(decoding: page.body.prefix(60), as: UTF8.self)
      throw wrong("the answer is not what a hub says: \(start.debugDescription)")
    }
  }

  private func wrong(_ what: String) -> HubError {
    HubError(.answer, what, context: "\(settings.endpoint), \(repository)")
  }
}

/// Returns why a hub does not give what was asked for.
func refusal(
  _ head: HTTPHead,
  _ settings: HubSettings,
  _ repository: RepositoryName,
  _ url: String
) -> HubError {
  let page = "\(settings.endpoint)/\(repository)"
  switch head.status {
  // After a redirect it is a signed address of another host that has expired: the hub gives a new one.
  case 401 where !head.isRedirected, 403 where !head.isRedirected:
    return HubError(
      .forbidden,
      settings.token == nil
        ? "is gated or private: accept its licence at \(page), make a token there (Settings, Access Tokens) and give it as HF_TOKEN"
        : "is gated or private, and the token does not open it: accept its licence at \(page), or use the token of an account that may read it",
      context: "\(repository)"
    )
  case 404, 410:
    return HubError(
      .missing,
      "is not there (\(head.status)); check the name at \(page)"
        + (settings.token == nil ? ", or give a token as HF_TOKEN if it is private" : ""),
      context: url.hasPrefix("\(settings.endpoint)/api/") ? "\(repository)" : url
    )
  case 401, 403, 408, 416, 425, 429, 500...599:
    return HubError(
      .network,
      "the hub answers \(head.status)",
      context: url,
      retryAfter: head.fields["retry-after"].flatMap { Double($0) }.map {
        .seconds(min(max($0, 0), 120))
      }
    )
  default:
    return HubError(.answer, "the hub answers \(head.status)", context: url)
  }
}
