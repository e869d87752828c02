// The terminal: the size of that at stdout, whether to use colours, the alternate screen that a command draws on, and
// questions.

import Compute
import Glibc
import Launch
import Wire

enum Terminal {
  /// Whether stdout is a terminal.
  static var isPresent: Bool { isatty(STDOUT_FILENO) == 1 }

  /// Whether to use colours: on a terminal, unless NO_COLOR is set (no-color.org).
  static var hasColours: Bool { isPresent && allowsColours }

  /// Whether text on stderr may be dimmed, by the same rule.
  static var dimsErrors: Bool { isatty(STDERR_FILENO) == 1 && allowsColours }

  private static var allowsColours: Bool {
    unsafe getenv("NO_COLOR").map { unsafe $0.pointee == 0 } ?? true
  }

  /// The columns and rows of the terminal; 80 columns and unlimited rows if stdout is not a
  /// terminal.
  static var size: (width: Int, height: Int) { size(of: STDOUT_FILENO) }

  /// The columns of the terminal at stderr.
  static var errorWidth: Int { size(of: STDERR_FILENO).width }

  private static func size(of descriptor: CInt) -> (width: Int, height: Int) {
    var size = winsize()
    let status = unsafe ioctl(descriptor, UInt(TIOCGWINSZ), &size)
    guard status == 0, size.ws_col > 0, size.ws_row > 0 else { return (80, .max) }
    return (Int(size.ws_col), Int(size.ws_row))
  }

  // xterm's control sequences (invisible-island.net/xterm/ctlseqs): the alternate screen, the cursor.
  static let enter = "\u{1B}[?1049h\u{1B}[?25l"
  static let leave = "\u{1B}[?25h\u{1B}[?1049l"

  /// Returns the text that draws lines over the previous ones.
  ///
  /// Each line is cleared to its end, and everything below the last is cleared.
  static func redraw(_ lines: [String]) -> String {
    "\u{1B}[H" + lines.map { "\($0)\u{1B}[K\r\n" }.joined() + "\u{1B}[J"
  }

  /// Asks a question on the terminal.
  ///
  /// - Parameters:
  ///   - question: What is asked.
  ///   - answer: What an empty line says.
  ///   - interrupt: A descriptor that ends the question when it is readable; nil if a signal ends the process.
  /// - Returns: Whether the answer is yes.
  /// - Throws: `Interrupted`.
  static func confirm(
    _ question: String,
    default answer: Bool,
    interruptedBy interrupt: CInt? = nil
  ) throws -> Bool {
    StandardError.write("\(question.printable) \(answer ? "[Y/n]" : "[y/N]") ")
    while let interrupt {
      let ready = try poll(sockets: [], descriptors: [STDIN_FILENO, interrupt], timeout: nil)
      if ready.contains(descriptor: interrupt) {
        StandardError.write("\n")
        throw Interrupted()
      }
      if ready.contains(descriptor: STDIN_FILENO) { break }
    }
    guard let line = readLine() else {
      StandardError.write("\n")
      return false
    }
    switch line.lowercased().trimmingPrefix(while: \.isWhitespace).first {
    case "y": return true
    case nil: return answer
    default: return false
    }
  }
}
