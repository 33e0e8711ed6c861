/** What `crashing-process.ts` does, and what is there after it. */
export const SECRET = 'q5vXx0Tn2yq8W1ZbJ4uR7sKd3fHgLmPc'

export type Entry =
  | { readonly act: Act; readonly ahead: number }
  | { readonly done: Act; readonly cookies: { readonly phone?: string; readonly laptop?: string } }
  | { readonly steps: number }

/** In their order. After each: the sessions that are there, as user and visits, of the phone and of the laptop. */
export const AFTER = {
  begin: ['nobody 1', undefined],
  'log in on another device': ['nobody 1', 'ada 0'],
  write: ['nobody 2', 'ada 0'],
  'log in': ['ada 2', 'ada 0'],
  'write as a user': ['ada 3', 'ada 0'],
  touch: ['ada 3', 'ada 0'],
  rotate: ['ada 4', 'ada 0'],
  'log in as somebody else': ['bob 0', 'ada 0'],
  'log out': [undefined, 'ada 0'],
  revoke: [undefined, undefined],
} satisfies Record<string, [phone: string | undefined, laptop: string | undefined]>

export type Act = keyof typeof AFTER

export const ACTS = Object.keys(AFTER) as Act[]
/** Those that happen in the old store, where sessions move to a new one. */
export const BEGINNING: readonly Act[] = ['begin', 'log in on another device']
