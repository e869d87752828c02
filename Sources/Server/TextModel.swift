// What the front door knows of the model: its names, its tokenizer, its chat template.

package import Gemma
internal import ModelFiles
internal import Wire

/// The model that is served, as far as texts are concerned.
package struct TextModel: Sendable {
  /// The name that clients ask for.
  package var name: String
  /// Names that mean the same.
  package var aliases: [String]
  /// The digest of config and weights, in hexadecimal digits.
  package var fingerprint: String
  package var tokenizer: Tokenizer
  package var template: Result<ChatTemplate, GemmaError>

  package init(
    name: String,
    aliases: [String],
    fingerprint: String,
    tokenizer: Tokenizer,
    template: Result<ChatTemplate, GemmaError>
  ) {
    self.name = name
    self.aliases = aliases
    self.fingerprint = fingerprint
    self.tokenizer = tokenizer
    self.template = template
  }

  /// How the model writes calls of tools.
  var callNotation: CallNotation {
    guard case .success(let template) = template, template.writesGemma4Calls,
      tokenizer.hasCallMarks
    else { return .json }
    return .gemma4
  }

  /// - Throws: `APIError` 404 for a name of another model.
  func check(_ wanted: String?) throws(APIError) {
    guard let wanted, wanted != name, !aliases.contains(wanted) else { return }
    throw APIError(
      404,
      "the model \"\(wanted.prefix(200))\" does not exist; this server has \"\(name)\"",
      parameter: "model",
      code: "model_not_found"
    )
  }
}
