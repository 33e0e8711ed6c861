import type { CookieAttributes } from '../cookie.ts'

/** For frameworks that write `Set-Cookie` themselves, and want `SameSite` in small letters. */
export function attributesToSet({ sameSite, ...attributes }: CookieAttributes) {
  return { ...attributes, sameSite: sameSite.toLowerCase() as Lowercase<typeof sameSite> }
}
