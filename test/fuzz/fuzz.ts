import { readFileSync } from 'node:fs'
import fc from 'fast-check'

/** What reads text that anybody may have written. */
export interface Target {
  /** What it makes of the text, or `REFUSED`. Whatever it throws is a crash. */
  read(text: string): unknown
  /**
   * What must hold of a text that is read though the corpus does not list it: throws if it does not. Absent: nothing but what the corpus
   * lists may be read, so that reading anything else is a forgery.
   */
  check?(result: unknown, text: string): void
  /** Texts of the target's own grammar, besides changed ones of the corpus. */
  readonly grammar?: fc.Arbitrary<string>
}

export const REFUSED = Symbol('refused')

/** Kept in the repository: what is read, and what is not. Every text that ever failed is added to one of them. */
export interface Corpus {
  readonly read: readonly string[]
  readonly refused: readonly string[]
}

export function corpusOf(name: string): Corpus {
  return JSON.parse(readFileSync(new URL(`./corpus/${name}.json`, import.meta.url), 'utf8'))
}

/** Milliseconds for one text, in the best of its attempts. `JSON.parse` alone takes two for 16,384 brackets, and more where the machine is busy. */
const SLOW = 5
const ATTEMPTS = 10
/** Node takes no more of all headers together, and sessions as a rule hold less. */
const LONGEST = 16_384

/** @throws with the text, as JSON, if the target crashes, is slow, or reads what it should not */
export function tryOne(target: Target, { read }: Corpus, text: string): void {
  let result: unknown
  let fastest = Number.POSITIVE_INFINITY
  for (let attempt = 0; attempt < ATTEMPTS && fastest > SLOW; attempt++) {
    const began = performance.now()
    result = target.read(text)
    fastest = Math.min(fastest, performance.now() - began)
  }
  if (fastest > SLOW) throw new Error(`it takes ${fastest.toFixed(1)} ms`)
  if (result === REFUSED || read.includes(text)) return
  if (!target.check) throw new Error('it is read, and nobody of ours wrote it')
  target.check(result, text)
}

/** Reads so many texts. A failure shrinks, and names the seed. */
export function fuzz(target: Target, corpus: Corpus, runs: number): void {
  fc.assert(
    fc.property(texts(target, corpus), (text) => tryOne(target, corpus, text)),
    { numRuns: runs },
  )
}

function texts({ grammar }: Target, { read, refused }: Corpus): fc.Arbitrary<string> {
  const seed = fc.constantFrom(...read, ...refused)
  const changed = fc.tuple(seed, seed, fc.array(edits, { minLength: 1, maxLength: 4 })).map(change)
  const repeated = fc.tuple(seed, fc.nat(), fc.integer({ min: 1, max: 64 }), fc.nat(LONGEST)).map(repeat)
  return fc.oneof(
    { weight: 12, arbitrary: changed },
    { weight: 1, arbitrary: repeated },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 200 }) },
    ...(grammar ? [{ weight: 4, arbitrary: grammar }] : []),
  )
}

/** What a text is made of that has a meaning somewhere: separators, digits, escapes, ends of what is encoded. */
const PIECES = [
  ...[
    '',
    ' ',
    '\t',
    '\n',
    '\r\n',
    '\0',
    ';',
    '=',
    ',',
    '.',
    '..',
    '-',
    '_',
    '+',
    '/',
    '%',
    '%00',
    '%FF',
    '"',
    '\\',
    "'",
  ],
  ...[
    '{',
    '}',
    '[',
    ']',
    ':',
    '#',
    '@',
    '~',
    'A',
    'a',
    '0',
    '-1',
    '9',
    '99999999999999999999',
    '1e999',
    'NaN',
    'null',
    'true',
  ],
  ...[
    '__proto__',
    '\\u005f',
    'constructor',
    '\u00a0',
    '\u2028',
    '\ud800',
    '\udc00',
    '😀',
    'é',
    '\ufeff',
    '==',
  ],
]

type Edit = readonly [
  kind: 'insert' | 'remove' | 'replace' | 'flip' | 'copy' | 'splice',
  at: number,
  length: number,
  piece: string,
]

const edits: fc.Arbitrary<Edit> = fc.tuple(
  fc.constantFrom('insert', 'remove', 'replace', 'flip', 'copy', 'splice'),
  fc.nat(),
  fc.integer({ min: 1, max: 24 }),
  fc.oneof(fc.constantFrom(...PIECES), fc.string({ unit: 'binary', maxLength: 3 })),
)

function change([text, other, all]: readonly [string, string, readonly Edit[]]): string {
  return all.reduce((changed, edit) => changeOnce(changed, other, edit), text)
}

function changeOnce(text: string, other: string, [kind, position, length, piece]: Edit): string {
  const at = position % (text.length + 1)
  const [before, there, after] = [text.slice(0, at), text.slice(at, at + length), text.slice(at + length)]
  switch (kind) {
    case 'insert':
      return before + piece + there + after
    case 'remove':
      return before + after
    case 'replace':
      return before + piece + after
    case 'copy':
      return before + there + there + after
    case 'splice':
      return before + other.slice(position % (other.length + 1))
    case 'flip':
      return (
        before + String.fromCharCode((text.charCodeAt(at) || 0) ^ (1 << (length % 8))) + text.slice(at + 1)
      )
  }
}

/** A part of it, again and again. */
function repeat([text, position, length, total]: readonly [string, number, number, number]): string {
  const at = position % (text.length + 1)
  const part = text.slice(at, at + length) || 'a'
  return text.slice(0, at) + part.repeat(Math.ceil(total / part.length)) + text.slice(at)
}
