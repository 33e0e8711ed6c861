import { join } from 'node:path'
import { createSessions, type SessionLifetime } from 'holdfast'
import { sqliteStore } from 'holdfast/stores/sql'
import { secretIn } from './secret.ts'

/** What the shop keeps for a visitor. */
export interface Visitor {
  visits?: number
  /** How many of each tea, by its sku. */
  cart?: Record<string, number>
}

/** A login ends with the browser, after a day without use, and after two weeks. */
export const VISIT = { idle: '24h', absolute: '14d', persistent: false } satisfies SessionLifetime
/** A login with "remember me": for a month, whether the shop is visited or not. */
export const REMEMBERED = { idle: '30d', absolute: '30d', persistent: true } satisfies SessionLifetime

/** `folder` holds the database and the secret. `secure` false is for plain http. */
export function shopSessions({ folder, secure }: { folder: string; secure: boolean }) {
  return createSessions<Visitor>({
    secret: secretIn(folder),
    store: sqliteStore(join(folder, 'sessions.db')),
    lifetime: VISIT,
    cookie: { secure },
    csrf: true,
    merge: { visits: 'sum', cart: 'sum' },
    describe: (request) => describeDevice(request.header('user-agent') ?? ''),
  })
}

/** The words by which people know their devices. No version and no address: the list needs neither. */
export function describeDevice(userAgent: string): { browser: string; system: string } {
  return {
    browser: firstMatch(BROWSERS, userAgent) ?? 'A browser',
    system: firstMatch(SYSTEMS, userAgent) ?? 'an unknown system',
  }
}

function firstMatch(words: readonly (readonly [string, RegExp])[], userAgent: string): string | undefined {
  return words.find(([, pattern]) => pattern.test(userAgent))?.[0]
}

/** In this order: most browsers also claim to be others. */
const BROWSERS = [
  ['Edge', /Edg(e|A|iOS)?\//],
  ['Opera', /OPR\//],
  ['Samsung Internet', /SamsungBrowser\//],
  ['Firefox', /(Firefox|FxiOS)\//],
  ['Chrome', /(Chrome|CriOS|Chromium)\//],
  ['Safari', /Version\/.*Safari\//],
  ['curl', /^curl\//],
] as const

const SYSTEMS = [
  ['Android', /Android/],
  ['iPad', /iPad/],
  ['iPhone', /iPhone/],
  ['Windows', /Windows NT/],
  ['Mac', /Macintosh/],
  ['ChromeOS', /CrOS/],
  ['Linux', /Linux/],
] as const
