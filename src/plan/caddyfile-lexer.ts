/**
 * Caddy's own lexer (caddyconfig/caddyfile/lexer.go), with ranges. A backslash before a newline joins lines, also at the
 * end of a comment and with blanks between; `opensLine` says that a real line break stands before the token.
 */
export function tokenize(text: string): Token[] {
  const tokens: Token[] = []
  let at = text.startsWith('\ufeff') ? 1 : 0
  let line = 1
  let opensLine = true
  while (at < text.length) {
    let [value, start, startLine, quote, comment, escaped, literal] = ['', -1, line, '', false, false, false]
    let ended = false
    while (!ended && at < text.length) {
      const char = text.charAt(at++)
      if (char === '\n') line++
      if (quote === '' && !literal && value.startsWith('<<')) {
        if (char === ' ') ended = true
        else if (char === '\n') {
          const marker = value.slice(2)
          const close = marker === '' ? -1 : text.indexOf(marker, at)
          const stop = close === -1 ? text.length : close + marker.length
          line += text.slice(at, stop).split('\n').length - 1
          at = stop
          quote = '<'
          ended = true
        } else if (char !== '\r') value += char
      } else if (!escaped && quote !== '`' && char === '\\') escaped = true
      else if (quote !== '') {
        if (escaped) value += char === '"' ? char : `\\${char}`
        else if (char === quote) ended = true
        else value += char
        escaped = false
      } else if (space.test(char)) {
        if (char === '\r') continue
        if (char === '\n') {
          if (value === '' && !escaped) opensLine = true
          // The break that ends a token belongs to the next one, so it is read again.
          else if (value !== '' && !escaped) [at, line] = [at - 1, line - 1]
          escaped = false
          comment = false
        }
        ended = value !== ''
      } else if (comment || (char === '#' && value === '')) comment = true
      else {
        if (value === '') [start, startLine] = [at - 1, line]
        if (value === '' && (char === '"' || char === '`')) quote = char
        else {
          if (escaped && char === '<') literal = true
          else if (escaped) value += '\\'
          escaped = false
          value += char
        }
      }
    }
    if (start === -1) break
    const end = quote === '' ? start + text.slice(start, at).trimEnd().length : at
    tokens.push({ text: value, quoted: quote !== '', start, end, line: startLine, opensLine })
    opensLine = false
  }
  return tokens
}

export type Token = {
  text: string
  quoted: boolean
  start: number
  end: number
  line: number
  opensLine: boolean
}

// Go's unicode.IsSpace, which is not JavaScript's \s.
const space = /[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/
