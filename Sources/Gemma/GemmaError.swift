// The error of the Gemma module.

package import ModelFiles

/// Why a model could not be read or used, or a text not be tokenized: the error of its files, whatever
/// part of them is at fault.
package typealias GemmaError = ModelFilesError
