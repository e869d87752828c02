// What the API answers where it cannot do what it was asked for: OpenAI's form, with all four keys.

/// An error of the API.
package struct APIError: Error, Sendable, Hashable {
  package var status: Int
  /// The value at fault and what to do.
  package var message: String
  package var type: String
  /// The field at fault.
  package var parameter: String?
  package var code: String?
  /// Seconds after which another try may succeed.
  package var retryAfter: Int?
  /// Where a path is asked with another method: those that it is asked with.
  var allowedMethods: String?
  /// The same in Anthropic's words, where programs look for these.
  var messagesMessage: String?

  package init(
    _ status: Int,
    _ message: String,
    type: String = "invalid_request_error",
    parameter: String? = nil,
    code: String? = nil,
    retryAfter: Int? = nil
  ) {
    self.status = status
    self.message = message
    self.type = type
    self.parameter = parameter
    self.code = code
    self.retryAfter = retryAfter
  }

  /// A request that makes no sense.
  package static func invalid(_ message: String, _ parameter: String? = nil) -> APIError {
    APIError(400, message, parameter: parameter)
  }

  /// `{"error": …}`.
  package var document: JSON {
    [
      "error": [
        "message": .string(message), "type": .string(type), "param": JSON(parameter),
        "code": JSON(code),
      ]
    ]
  }
}
