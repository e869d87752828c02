// The terminal at stdout: its width, whether it wants colours, and a screen of its own for as long as
// a command draws.

import Glibc

enum Terminal {
  /// Whether stdout is one.
  static var isPresent: Bool { isatty(STDOUT_FILENO) == 1 }

  /// Whether to use colours: on a terminal, unless NO_COLOR is set (no-color.org).
  static var hasColours: Bool {
    guard isPresent else { return false }
    return unsafe getenv("NO_COLOR").map { unsafe $0.pointee == 0 } ?? true
  }

  /// The columns and rows of a terminal; 80 columns and no end of rows where there is none.
  static var size: (width: Int, height: Int) {
    var size = winsize()
    let status = unsafe ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size)
    guard status == 0, size.ws_col > 0, size.ws_row > 0 else { return (80, .max) }
    return (Int(size.ws_col), Int(size.ws_row))
  }

  // xterm's control sequences (invisible-island.net/xterm/ctlseqs): the alternate screen, the cursor.
  static let enter = "\u{1B}[?1049h\u{1B}[?25l"
  static let leave = "\u{1B}[?25h\u{1B}[?1049l"

  /// Returns what draws lines over the ones before: each ends by clearing to its end, the last by
  /// clearing what is below.
  static func redraw(_ lines: [String]) -> String {
    "\u{1B}[H" + lines.map { "\($0)\u{1B}[K\r\n" }.joined() + "\u{1B}[J"
  }
}
