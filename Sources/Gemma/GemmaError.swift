// The error of the Gemma module.

package import ModelFiles

/// Why a model could not be read or used, or a text could not be tokenized.
///
/// It is the error type of model files, because a model's files are the cause of most of them.
package typealias GemmaError = ModelFilesError
