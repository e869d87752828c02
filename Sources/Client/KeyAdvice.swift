// What to say of keys to somebody who gets no answer.

package import Wire

/// Returns what may be wrong with the keys when nobody answers; nothing where there are none.
///
/// Whoever does not know a key does not say so: a stranger learns nothing of who is let in.
package func keyAdvice(_ security: Security, _ endpoint: Endpoint) -> String {
  guard let key = security.publicKey(at: endpoint) else { return "" }
  return
    "; is one listening there? It may also not know this machine's key (there: trestle keys allow "
    + "'\(key)'), or have another key than --server-key says"
}
