import { scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'

export interface User {
  readonly id: string
  readonly name: string
  /** `salt:hash` of scrypt, both base64url. */
  readonly passwordHash: string
}

const users: readonly User[] = [
  {
    id: 'marina',
    name: 'Marina',
    passwordHash: '5SriF_YaO8i-mB8y2eCvZw:--JlWF3bF-SGZeh7yWnFfORtDi-hPNwnEwMxpY73NbM',
  },
  {
    id: 'jonas',
    name: 'Jonas',
    passwordHash: 'Ki2jVCVZh4y3j5UxUIp_5g:FGMv7HObe3xa7OatcMW6Q1QBSHxY3PKBIfPwrO01rSU',
  },
]

/** What a real shop would never print: the way in for whoever tries this one out. */
export const demoLogins = [
  { name: 'marina', password: 'flood tide at noon' },
  { name: 'jonas', password: 'lantern on the quay' },
] as const

/** A hash of nothing anybody types: an unknown name must take as long as a wrong password, or names could be tried out. */
const NOBODY = 'q4NzMnO6NGJHVgTnmBBlwg:j8aHTlT9Bz5jFtcHWzXB9N8yy7rSCZHUz73Dno_4SFw'

export function findUser(id: string | undefined): User | undefined {
  return users.find((user) => user.id === id)
}

/** The user of that name, if the password is right. */
export async function checkPassword(name: string, password: string): Promise<User | undefined> {
  const user = findUser(name.trim().toLowerCase())
  const isRight = await matches(password, user?.passwordHash ?? NOBODY)
  return isRight ? user : undefined
}

async function matches(password: string, passwordHash: string): Promise<boolean> {
  const [salt, hash] = passwordHash.split(':') as [string, string]
  const expected = Buffer.from(hash, 'base64url')
  return timingSafeEqual(await derive(password, salt, expected.length, COST), expected)
}

const derive = promisify<string, string, number, typeof COST, Buffer>(scrypt)

/** OWASP's choice for 16 MB of memory. */
const COST = { N: 2 ** 14, r: 8, p: 5 }
