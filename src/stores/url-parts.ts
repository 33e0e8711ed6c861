/** What `migrating:?from=…&to=…` and `layered:?cache=…&database=…` are made of. */
export interface UrlShape<Needed extends string, Other extends string> {
  readonly needed: readonly Needed[]
  readonly others: readonly Other[]
}

export const LAYERED = { needed: ['cache', 'database'], others: [] } as const
export const MIGRATING = { needed: ['from', 'to'], others: ['moves'] } as const

/**
 * Refuses what it does not know: the `&table=` of a URL that was not percent-encoded would be lost in silence. Repeats none of it, as it may be half a password.
 * @throws TypeError
 */
export function partsOf<Needed extends string, Other extends string>(
  url: string,
  { needed, others }: UrlShape<Needed, Other>,
): Record<Needed, string> & Partial<Record<Other, string>> {
  const found = new URLSearchParams(url.slice(url.indexOf('?') + 1))
  const missing = needed.find((name) => !found.get(name))
  const names: readonly string[] = [...needed, ...others]
  const isForeign = [...found.keys()].some((name) => !names.includes(name))
  if (missing === undefined && !isForeign) return Object.fromEntries(found) as Record<Needed | Other, string>
  throw new TypeError(
    `openStore: this URL has ${missing === undefined ? `more than ${names.join(', ')}` : `no ${missing}`}; ` +
      'it must be like layered:?cache=…&database=… or migrating:?from=…&to=…, both percent-encoded',
  )
}
