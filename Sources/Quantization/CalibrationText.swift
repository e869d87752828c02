// The text that comes with the program, for calibration and for measuring what quantisation costs.

internal import CCalibrationText

/// The text that is used where a user names none.
package enum CalibrationText {
  /// About 80 KB of prose, verse, dialogue, code and other languages, so mixed that every beginning has some of each.
  package static var bundled: String {
    let bytes = unsafe UnsafeBufferPointer(
      start: calibration_text_start(),
      count: calibration_text_size()
    )
    return unsafe String(decoding: bytes, as: UTF8.self)
  }
}
