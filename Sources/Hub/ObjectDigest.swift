// What a file's content is called in a repository.

internal import Content

/// Computes the name of a file's content as it comes.
struct ObjectDigest {
  private enum Sum {
    case sha256(SHA256)
    case git(SHA1)
  }
  private var sum: Sum

  /// - Parameters:
  ///   - object: The name that is expected; its length tells the kind.
  ///   - byteCount: The bytes of the whole content.
  init(like object: String, byteCount: Int) {
    guard object.utf8.count == 40 else {
      sum = .sha256(SHA256())
      return
    }
    // A git object begins with its kind and size (git-scm.com/book, Git Objects).
    var git = SHA1()
    git.update(Array("blob \(byteCount)\0".utf8))
    sum = .git(git)
  }

  mutating func update(_ bytes: [UInt8]) {
    switch sum {
    case .sha256(var inner):
      inner.update(bytes)
      sum = .sha256(inner)
    case .git(var inner):
      inner.update(bytes)
      sum = .git(inner)
    }
  }

  /// Returns the name in hexadecimal digits.
  consuming func finish() -> String {
    let bytes =
      switch sum {
      case .sha256(let inner): inner.finish()
      case .git(let inner): inner.finish()
      }
    return bytes.map { byte in
      let digits = String(byte, radix: 16)
      return digits.count == 1 ? "0\(digits)" : digits
    }.joined()
  }
}
