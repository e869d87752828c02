// Files embedded in the program: the web page, under a policy that lets nothing else run, and the description of
// the interface.

internal import Content
internal import Foundation
internal import HTTPTypes
internal import Hummingbird
internal import NIOCore
internal import ServerPage

enum Page {
  /// The file.
  static let bytes: [UInt8] = unsafe Array(
    UnsafeRawBufferPointer(start: server_page_start(), count: server_page_size())
  )

  /// The OpenAPI document.
  static let description: [UInt8] = unsafe Array(
    UnsafeRawBufferPointer(start: server_description_start(), count: server_description_size())
  )

  /// Its own script and its own style, and nothing from anywhere else.
  static let policy: String = {
    let text = String(decoding: bytes, as: UTF8.self)
    let script = hash(of: text, between: "<script type=\"module\">", and: "</script>")
    let style = hash(of: text, between: "<style>", and: "</style>")
    return [
      "default-src 'none'", "script-src '\(script)'", "style-src '\(style)'", "connect-src 'self'",
      "img-src data:", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
    ].joined(separator: "; ")
  }()

  private static func hash(of text: String, between start: String, and end: String) -> String {
    guard let first = text.range(of: start),
      let last = text.range(of: end, range: first.upperBound..<text.endIndex)
    else { preconditionFailure("the page has no \(start)") }
    let part = Array(text[first.upperBound..<last.lowerBound].utf8)
    return "sha256-\(Data(sha256(part)).base64EncodedString())"
  }

  static var response: Response {
    Response(
      status: .ok,
      headers: [
        .contentType: "text/html; charset=utf-8", .cacheControl: "no-cache",
        .contentSecurityPolicy: policy, .xContentTypeOptions: "nosniff",
        HTTPField.Name("referrer-policy") ?? .eTag: "no-referrer",
      ],
      body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes))
    )
  }
}
