import type { HeaderChange } from '../cookie.ts'

/** The three things that every framework's idea of headers can do. */
export interface HeaderTarget {
  get(name: string): string | undefined
  set(name: string, value: string): void
  append(name: string, value: string): void
}

/** Puts what the session needs into the response's headers, and weakens nothing that the application said. */
export function applyHeaders(headers: HeaderTarget, changes: readonly HeaderChange[]): void {
  for (const [name, value, how] of changes) {
    if (name === 'Set-Cookie') headers.append(name, value)
    else
      headers.set(
        name,
        how === 'append' ? appended(headers.get(name), value) : strengthened(headers.get(name), value),
      )
  }
}

/** A comma list with one more member. */
export function appended(list: string | undefined, member: string): string {
  if (list === undefined || list === '') return member
  const members = membersOf(list)
  return members.includes('*') || members.includes(member.toLowerCase()) ? list : `${list}, ${member}`
}

/** `value`, unless the application already said that and more. */
export function strengthened(given: string | undefined, value: string): string {
  return given !== undefined && membersOf(given).includes(value.toLowerCase()) ? given : value
}

function membersOf(list: string): string[] {
  return list.split(',').map((one) => one.trim().toLowerCase())
}
