// Serves grammars to the comparison with llguidance: commands on stdin, a line for each on stdout.
//
//   vocabulary FILE             reads what scripts/compare-with-llguidance writes
//   compile KIND STRICT SOURCE  schema, json, value, choices (by lines), pattern, gbnf; STRICT is 0 or
//                               1; the source in hexadecimal
//   mask                        mask NANOSECONDS COMPLETE MASK
//   accept TOKEN                ok NANOSECONDS, or refused
//   text BYTES                  yes or no: whether the grammar accepts them as a whole
//   reset                       back before the first token

import Glibc

var lab = Lab()
while let line = readLine() {
  print(lab.answer(line))
  // Each answer is read before the next command is written.
  fflush(nil)
}
