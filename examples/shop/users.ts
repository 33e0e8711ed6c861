import { createHash, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'

export interface User {
  readonly id: string
  readonly name: string
}

interface Customer extends User {
  /** `salt:hash` of scrypt, both base64url. */
  readonly passwordHash: string
}

const customers: readonly Customer[] = [
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

/** Sees the dashboard. The password is not here, but made at the first start. */
export const ADMIN = { id: 'admin', name: 'Admin' } as const

/** Where the admin sees who is signed in, and can end that. */
export const DASHBOARD = '/admin/sessions'

/** What a real shop would never print: the way in for whoever tries this one out. */
export const demoLogins = [
  { name: 'marina', password: 'flood tide at noon' },
  { name: 'jonas', password: 'lantern on the quay' },
] as const

/** A hash of nothing anybody types: an unknown name must take as long as a wrong password, or names could be tried out. */
const NOBODY = 'q4NzMnO6NGJHVgTnmBBlwg:j8aHTlT9Bz5jFtcHWzXB9N8yy7rSCZHUz73Dno_4SFw'

export function findUser(id: string | undefined): User | undefined {
  return id === ADMIN.id ? ADMIN : findCustomer(id)
}

function findCustomer(id: string | undefined): Customer | undefined {
  return customers.find((customer) => customer.id === id)
}

/** The user of that name, if the password is right. */
export async function checkPassword(
  name: string,
  password: string,
  adminPassword: string,
): Promise<User | undefined> {
  const id = name.trim().toLowerCase()
  const customer = findCustomer(id)
  const isRight = await matches(password, customer?.passwordHash ?? NOBODY)
  if (id === ADMIN.id) return isSame(password, adminPassword) ? ADMIN : undefined
  return isRight ? customer : undefined
}

/** For a password that is random: nobody could find it from its hash, however quick that is. */
function isSame(password: string, expected: string): boolean {
  const [one, other] = [password, expected].map((text) => createHash('sha256').update(text).digest())
  return timingSafeEqual(one!, other!)
}

async function matches(password: string, passwordHash: string): Promise<boolean> {
  const [salt, hash] = passwordHash.split(':') as [string, string]
  const expected = Buffer.from(hash, 'base64url')
  return timingSafeEqual(await derive(password, salt, expected.length, COST), expected)
}

const derive = promisify<string, string, number, typeof COST, Buffer>(scrypt)

/** OWASP's choice for 16 MB of memory. */
const COST = { N: 2 ** 14, r: 8, p: 5 }
