// GET over libcurl: one connection, one request at a time. libcurl follows redirects, knows proxies and certificates,
// and keeps the token from other hosts.

internal import CCurl
internal import Foundation
internal import Platform

/// What a server said before the content.
struct HTTPHead: Sendable {
  /// The status of the last answer, after redirects.
  var status = 0
  /// By lowercase name; of several fields with a name the last.
  var fields: [String: String] = [:]
  /// Whether the request has been redirected.
  var isRedirected = false

  /// The content's length as the server announces it.
  var length: Int? { fields["content-length"].flatMap { Int($0) } }

  /// The `Content-Range: bytes FIRST-LAST/TOTAL` (RFC 9110, 14.4).
  var contentRange: (bytes: Range<Int>, total: Int)? {
    guard let match = fields["content-range"]?.wholeMatch(of: /bytes (\d+)-(\d+)\/(\d+)/),
      let first = Int(match.1), let last = Int(match.2), let total = Int(match.3), first <= last,
      last < .max
    else { return nil }
    return (first..<(last + 1), total)
  }
}

/// Ends what several threads do.
package final class Cancellation: Sendable {
  private let flag = Lock(false)
  package init() {}
  package func cancel() { flag.withLock { $0 = true } }
  package var isCancelled: Bool { flag.withLock { $0 } }
}

/// A connection to a hub and where it redirects to.
///
/// It is used by one thread at a time.
@safe final class HTTPConnection {
  private let handle: UnsafeMutableRawPointer
  private let agent: String
  private let token: String?
  private let isEncrypted: Bool

  /// A connection that carries fewer bytes a second, for so long, is given up.
  private static let leastBytesPerSecond = 1024
  private static let stallSeconds = 30
  private static let connectSeconds = 20
  private static let mostRedirects = 6

  // It must be called before any other function of libcurl; a global is initialised once.
  private static let isInitialised = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

  init(_ settings: HubSettings) throws(HubError) {
    guard Self.isInitialised, let handle = unsafe curl_easy_init() else {
      throw HubError(.network, "libcurl cannot begin", context: settings.endpoint)
    }
    unsafe self.handle = handle
    agent = settings.agent
    token = settings.token
    isEncrypted = settings.endpoint.hasPrefix("https://")
  }

  deinit { unsafe curl_easy_cleanup(handle) }

  /// Fetches what an address has.
  ///
  /// - Parameters:
  ///   - url: The address; the token is sent to its host alone.
  ///   - range: Which bytes to ask for; nil for all.
  ///   - isCancelled: Whether to end; asked about once a second, and with all bytes.
  ///   - onHead: Called once, before the first bytes, with the last answer's head.
  ///   - onBytes: Called with the content's bytes in order.
  /// - Returns: The head.
  /// - Throws: What the closures throw, and `HubError.network` if the connection fails.
  func get(
    _ url: String,
    range: Range<Int>? = nil,
    isCancelled: () -> Bool,
    onHead: (HTTPHead) throws(HubError) -> Void,
    onBytes: ([UInt8]) throws(HubError) -> Void
  ) throws(HubError) -> HTTPHead {
    let code = withoutActuallyEscaping(isCancelled) { isCancelled in
      withoutActuallyEscaping(onHead) { onHead in
        withoutActuallyEscaping(onBytes) { onBytes in
          run(Exchange(isCancelled: isCancelled, onHead: onHead, onBytes: onBytes), url, range)
        }
      }
    }
    return try code.get()
  }

  private func run(
    _ exchange: Exchange,
    _ url: String,
    _ range: Range<Int>?
  ) -> Result<HTTPHead, HubError> {
    unsafe curl_easy_reset(handle)
    configure(url, range)
    let context = unsafe Unmanaged.passUnretained(exchange)
    let code = withExtendedLifetime(exchange) {
      unsafe ccurl_set_callbacks(
        handle,
        { unsafe Exchange.of($3).take(UnsafeRawBufferPointer(start: $0, count: $1 * $2)) },
        { unsafe Exchange.of($3).takeHeader(UnsafeRawBufferPointer(start: $0, count: $1 * $2)) },
        { context, _, _, _, _ in unsafe Exchange.of(context).isCancelled() ? 1 : 0 },
        context.toOpaque()
      )
      return unsafe curl_easy_perform(handle)
    }
    if let failure = exchange.failure { return .failure(failure) }
    if exchange.isCancelled() {
      return .failure(HubError(.interrupted, "interrupted", context: url))
    }
    guard code == CURLE_OK else { return .failure(failure(code, url)) }
    if let failure = exchange.beginBody() { return .failure(failure) }
    return .success(exchange.head)
  }

  private func configure(_ url: String, _ range: Range<Int>?) {
    let protocols = isEncrypted ? "https" : "http,https"
    let texts: [(CURLoption, String?)] = [
      (CURLOPT_URL, url), (CURLOPT_USERAGENT, agent), (CURLOPT_PROTOCOLS_STR, protocols),
      (CURLOPT_REDIR_PROTOCOLS_STR, protocols), (CURLOPT_XOAUTH2_BEARER, token),
      (CURLOPT_RANGE, range.map { "\($0.lowerBound)-\($0.upperBound - 1)" }),
    ]
    for (option, text) in texts {
      if let text { unsafe _ = ccurl_set_text(handle, option, text) }
    }
    let numbers: [(CURLoption, Int)] = [
      // Timeouts by signal would hit other threads.
      (CURLOPT_NOSIGNAL, 1), (CURLOPT_NOPROGRESS, 0), (CURLOPT_FOLLOWLOCATION, 1),
      (CURLOPT_MAXREDIRS, Self.mostRedirects), (CURLOPT_CONNECTTIMEOUT, Self.connectSeconds),
      (CURLOPT_LOW_SPEED_LIMIT, Self.leastBytesPerSecond),
      (CURLOPT_LOW_SPEED_TIME, Self.stallSeconds),
      (CURLOPT_BUFFERSIZE, 1 << 18),
      (CURLOPT_HTTPAUTH, token == nil ? 0 : 1 << 6 /* CURLAUTH_BEARER */),
    ]
    for (option, number) in numbers { unsafe _ = ccurl_set_number(handle, option, number) }
  }

  private func failure(_ code: CURLcode, _ url: String) -> HubError {
    let reason = unsafe String(cString: curl_easy_strerror(code))
    return switch code {
    case CURLE_OPERATION_TIMEDOUT:
      HubError(.network, "no answer, or a stalled one (\(reason))", context: url)
    case CURLE_TOO_MANY_REDIRECTS:
      HubError(.answer, "it redirects more than \(Self.mostRedirects) times", context: url)
    case CURLE_UNSUPPORTED_PROTOCOL:
      HubError(
        .answer,
        isEncrypted
          ? "it redirects to an address that is not https"
          : "it redirects to an address that is not http",
        context: url
      )
    case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_URL_MALFORMAT:
      HubError(.answer, reason, context: url)
    default: HubError(.network, reason, context: url)
    }
  }
}

/// One request while it is under way.
@safe private final class Exchange {
  let isCancelled: () -> Bool
  private let onHead: (HTTPHead) throws(HubError) -> Void
  private let onBytes: ([UInt8]) throws(HubError) -> Void
  private(set) var head = HTTPHead()
  private(set) var failure: HubError?
  private var hasBegun = false

  init(
    isCancelled: @escaping () -> Bool,
    onHead: @escaping (HTTPHead) throws(HubError) -> Void,
    onBytes: @escaping ([UInt8]) throws(HubError) -> Void
  ) {
    self.isCancelled = isCancelled
    self.onHead = onHead
    self.onBytes = onBytes
  }

  static func of(_ context: UnsafeMutableRawPointer?) -> Exchange {
    guard let context = unsafe context else { preconditionFailure("libcurl lost its context") }
    return unsafe Unmanaged<Exchange>.fromOpaque(context).takeUnretainedValue()
  }

  /// Takes a header line; returns how many of its bytes are taken.
  func takeHeader(_ line: UnsafeRawBufferPointer) -> Int {
    let text = unsafe String(decoding: line, as: UTF8.self)
    if text.hasPrefix("HTTP/") {
      // Each redirect has an answer of its own.
      head = HTTPHead(isRedirected: head.status / 100 == 3)
      head.status = text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
    } else if let colon = text.firstIndex(of: ":") {
      let name = text[..<colon].lowercased()
      head.fields[name] = text[text.index(after: colon)...].trimmingCharacters(
        in: .whitespacesAndNewlines
      )
    }
    return line.count
  }

  /// Tells of the head, once; returns what is wrong with it.
  func beginBody() -> HubError? {
    guard !hasBegun else { return failure }
    hasBegun = true
    do throws(HubError) { try onHead(head) } catch { failure = error }
    return failure
  }

  /// Takes bytes of the content; returns how many of them are taken: fewer end the request.
  func take(_ bytes: UnsafeRawBufferPointer) -> Int {
    guard beginBody() == nil, !isCancelled() else { return 0 }
    do throws(HubError) { try onBytes(unsafe Array(bytes)) } catch {
      failure = error
      return 0
    }
    return bytes.count
  }
}
