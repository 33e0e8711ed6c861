import { readCookies, setCookie } from '../cookie.ts'
import { cookieHeader } from '../request.ts'
import type { Visit } from '../visit.ts'
import { handleOf } from '../visit.ts'
import type { Binding } from './binding.ts'
import { timeOf, timeText } from './challenge.ts'
import type { DeviceBindingSettings } from './settings.ts'
import type { Tagger } from './tags.ts'

/** The cookie that a device renews by a proof: a tag over session, binding and expiry, so that it is checked without asking the store. */
export interface BoundCookies {
  /** As Set-Cookie. */
  give(visit: Visit, binding: Binding, now: number): string
  clear(): string
  /** Whether the request has brought one that is worth something. */
  isIn(visit: Visit, binding: Binding, now: number): boolean
}

/** More of that name than a browser could send by accident. */
const MOST_COOKIES = 8

export function createBoundCookies(
  { cookie, lifetime }: DeviceBindingSettings,
  tagger: Tagger,
): BoundCookies {
  const { name, attributes } = cookie
  const contextOf = (visit: Visit, { id }: Binding) => [handleOf(visit), id]

  return {
    give(visit, binding, now) {
      const value = tagger.sign(timeText(now + lifetime), contextOf(visit, binding))
      return setCookie({ name, value, attributes })
    },
    clear: () => setCookie({ name, value: '', attributes: { ...attributes, maxAge: 0 } }),
    isIn(visit, binding, now) {
      const context = contextOf(visit, binding)
      return readCookies(cookieHeader(visit.source), name, MOST_COOKIES).some((text) => {
        const expires = tagger.verify(text, context)
        return expires !== undefined && now < timeOf(expires)
      })
    },
  }
}
