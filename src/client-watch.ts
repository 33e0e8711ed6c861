import { createHmac } from 'node:crypto'
import { isIP } from 'node:net'
import type { Events } from './events.ts'
import type { ClientWords } from './record.ts'
import type { RequestSource, RequestView } from './request.ts'
import { viewOf } from './request.ts'
import type { Settings } from './settings.ts'
import { deriveKey } from './token.ts'

export type ClientChange = keyof ClientWords

export interface ClientWatch {
  wordsOf(source: RequestSource, userId: string): ClientWords
  /** Where the request's client differs, and what to remember instead. What either does not tell is no difference. */
  compare(
    before: ClientWords,
    source: RequestSource,
    userId: string,
  ): { readonly changed: readonly ClientChange[]; readonly words: ClientWords }
}

export function createClientWatch(settings: Settings, events: Events): ClientWatch | undefined {
  const { watchClient, secrets, name } = settings
  if (!watchClient) return undefined
  const keys = secrets.map((secret) => deriveKey(secret, name, 'client'))

  /** A signal must not cost a request: what the application's function throws is an event, and so is what it gives that is no text. */
  function addressOf(view: RequestView): string | undefined {
    if (watchClient === true) return view.address
    try {
      const given: unknown = (watchClient as Exclude<typeof watchClient, boolean>).address(view)
      if (given === undefined || given === null || typeof given === 'string') return given ?? undefined
      throw new TypeError(
        `watchClient.address: gave a ${typeof given}; it must give an address as text, or undefined`,
      )
    } catch (error) {
      events.emit('error', { operation: 'watchClient.address', error })
      return undefined
    }
  }

  function factsOf(source: RequestSource): readonly (readonly [ClientChange, string | undefined])[] {
    const view = viewOf(source)
    return [
      ['browser', browserOf(view.userAgent)],
      ['network', networkOf(addressOf(view))],
    ]
  }

  const word = (key: Buffer, userId: string, kind: ClientChange, fact: string) =>
    createHmac('sha256', key)
      .update(JSON.stringify([userId, kind, fact]))
      .digest()
      .subarray(0, 6)
      .toString('base64url')

  return {
    wordsOf(source, userId) {
      const known = factsOf(source).filter(([, fact]) => fact !== undefined)
      return Object.fromEntries(known.map(([kind, fact]) => [kind, word(keys[0]!, userId, kind, fact!)]))
    },
    compare(before, source, userId) {
      const changed: ClientChange[] = []
      const words: { -readonly [Kind in ClientChange]?: string } = { ...before }
      for (const [kind, fact] of factsOf(source)) {
        if (fact === undefined) continue
        // An older secret's words still hold.
        const all = keys.map((key) => word(key, userId, kind, fact))
        if (before[kind] !== undefined && all.includes(before[kind])) continue
        if (before[kind] !== undefined) changed.push(kind)
        words[kind] = all[0]!
      }
      return { changed, words }
    },
  }
}

const BROWSERS = [
  ['edge', /\bEdg(e|A|iOS)?\//],
  ['opera', /\bOPR\/|\bOpera\b/],
  ['samsung', /\bSamsungBrowser\//],
  ['firefox', /\b(Firefox|FxiOS)\//],
  ['chrome', /\b(Chrome|Chromium|CriOS|HeadlessChrome)\//],
  ['safari', /\bSafari\//],
] as const

const SYSTEMS = [
  ['ios', /\biP(hone|ad|od)\b/],
  ['android', /\bAndroid\b/],
  ['windows', /\bWindows\b/],
  ['mac', /\bMacintosh\b/],
  ['chromeos', /\bCrOS\b/],
  ['linux', /\bLinux\b/],
] as const

/** Maker and system, without any version, so that an update is no change: `firefox on linux`, or the name of what is no browser. */
export function browserOf(userAgent: string | undefined): string | undefined {
  if (!userAgent) return undefined
  const text = userAgent.slice(0, 512)
  const browser = BROWSERS.find(([, pattern]) => pattern.test(text))?.[0]
  const system = SYSTEMS.find(([, pattern]) => pattern.test(text))?.[0]
  return `${browser ?? /^[^\s/]*/.exec(text)![0]} on ${system ?? 'anything'}`
}

/** The first 24 bits of an IPv4 address, 48 of an IPv6 one: what a provider gives to one customer or one place. */
export function networkOf(address: string | undefined): string | undefined {
  const plain = (address ?? '').replace(/%.*$/s, '').replace(/^::ffff:(?=[\d.]+$)/i, '')
  const version = isIP(plain)
  if (version === 0) return undefined
  if (version === 4) return `${plain.split('.', 3).join('.')}/24`
  const [front = ''] = plain.split('::', 1)
  const groups = [...front.split(':'), '0', '0', '0'].slice(0, 3)
  return `${groups.map((group) => Number.parseInt(group || '0', 16).toString(16)).join(':')}/48`
}
