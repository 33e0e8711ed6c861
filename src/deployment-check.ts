import ms from 'ms'
import type { LifetimePolicy } from './lifetime.ts'
import { MAKE_ONE } from './settings/secrets.ts'
import type { Settings } from './settings.ts'
import type { Finding, Store } from './store.ts'

const MINUTE = 60_000
const DAY = 86_400_000
const LONGEST_PERSISTENT = 30 * DAY
const MOST_SECRETS = 3
const SEVERITIES: readonly Finding['severity'][] = ['error', 'warning', 'info']

/** What is weak about the way in which sessions are set up here, the gravest first. */
export async function checkDeployment(settings: Settings, store: Store): Promise<Finding[]> {
  const findings = [
    ...checkSecrets(settings),
    ...checkEnvironment(),
    ...checkCookie(settings),
    ...checkCsrf(settings),
    ...checkLifetime(settings.lifetime),
    ...checkReuse(settings),
    ...checkComparing(store),
    ...(await askStore(settings, store)),
  ]
  return findings.sort((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity))
}

function isProduction(): boolean {
  return process.env.NODE_ENV === 'production'
}

function checkSecrets({ secrets, isRandomSecret }: Settings): Finding[] {
  const findings: Finding[] = []
  if (isRandomSecret) {
    findings.push({
      id: 'secret.missing',
      severity: 'error',
      finding:
        'No secret is given, so a random one is used: every restart logs everybody out, and no other process takes these cookies.',
      cure: `Set the option secret. ${MAKE_ONE}`,
    })
  }
  secrets.forEach((secret, i) => {
    const reason = weaknessOf(Buffer.from(secret).toString('latin1'))
    if (reason === undefined) return
    findings.push({
      id: 'secret.weak',
      severity: 'error',
      finding: `Secret ${i + 1} of ${secrets.length} ${reason}, so it may be guessed, and with it any cookie made.`,
      cure: `Put a new one in front of it, and remove it when the sessions that it signed are over. ${MAKE_ONE}`,
    })
  })
  if (secrets.length > MOST_SECRETS) {
    findings.push({
      id: 'secret.many',
      severity: 'info',
      finding: `${secrets.length} secrets are accepted, and each that leaks makes cookies for as long as it is listed.`,
      cure: 'Remove those that were retired longer ago than the absolute timeout.',
    })
  }
  return findings
}

/** What the construction lets pass, having 32 bytes and enough different ones. Of random text, in any usual encoding, none of this is true. */
function weaknessOf(text: string): string | undefined {
  if ((text + text).indexOf(text, 1) < text.length) return 'repeats itself'
  if (/^\d+$/.test(text)) return 'has only digits'
  if (/^[a-z\s\-_.,]+$/.test(text) || /^[A-Z\s\-_.,]+$/.test(text)) return 'looks like words'
  return undefined
}

function checkEnvironment(): Finding[] {
  if (isProduction()) return []
  const found = process.env.NODE_ENV === undefined ? 'not set' : JSON.stringify(process.env.NODE_ENV)
  return [
    {
      id: 'environment.not-production',
      severity: 'warning',
      finding: `NODE_ENV is ${found}: a missing secret is replaced by a random one, and frameworks show their errors to everybody.`,
      cure: 'Set NODE_ENV=production where users are served.',
    },
  ]
}

function checkCookie({ cookie: { name, attributes }, csrf }: Settings): Finding[] {
  const { secure, sameSite, domain } = attributes
  const findings: Finding[] = []
  if (!secure) {
    findings.push({
      id: 'cookie.insecure',
      severity: isProduction() ? 'error' : 'warning',
      finding: `The cookie ${name} is sent over plain http as well, where anybody on the way can read it, and a sibling domain can put another in its place.`,
      cure: 'Remove cookie: { secure: false }, and serve over https. Browsers accept Secure cookies on localhost.',
    })
  }
  if (sameSite === 'None' && !csrf) {
    findings.push({
      id: 'cookie.cross-site',
      severity: 'error',
      finding: `The cookie ${name} is sent with requests of every other site (sameSite: 'none'), and nothing refuses those that change something in a visitor's name.`,
      cure: "Set csrf: true, or { trustedOrigins } for the sites that embed this one; or leave sameSite at its default, 'lax'.",
    })
  }
  if (domain !== undefined) {
    findings.push({
      id: 'cookie.domain',
      severity: 'warning',
      finding: `The cookie ${name} goes to every host under ${domain}: whoever runs one of them has the sessions of all, and can set the cookie for this one.`,
      cure: 'Remove cookie: { domain } unless all of these hosts are yours and share the login; the name then begins with __Host-.',
    })
  }
  return findings
}

function checkCsrf({ csrf }: Settings): Finding[] {
  if (csrf) return []
  return [
    {
      id: 'csrf.off',
      severity: 'info',
      finding:
        "Pages of sibling domains can send requests in a visitor's name, and any page can log a visitor in as somebody else, unless something else refuses that.",
      cure: 'Set csrf: true, or csrf: { trustedOrigins } where other origins of yours may; see docs/csrf.md.',
    },
  ]
}

function checkLifetime({ idle, absolute, persistent }: LifetimePolicy): Finding[] {
  const findings: Finding[] = []
  if (persistent && (absolute === false || absolute > LONGEST_PERSISTENT)) {
    const long = absolute === false ? 'for ever' : `for ${Math.round(absolute / DAY)} days`
    findings.push({
      id: 'lifetime.persistent-long',
      severity: 'warning',
      finding: `Every login outlives the browser and lasts ${long}: on a shared or stolen device it is open all that time.`,
      cure: "Set lifetime.absolute to 30 days or less, or make it the user's choice: session.setLifetime({ persistent: true, idle: '14d', absolute: '30d' }).",
    })
  }
  const shortest = Math.min(...[idle, absolute].map((limit) => limit || MINUTE))
  if (shortest < MINUTE) {
    findings.push({
      id: 'lifetime.short',
      severity: 'warning',
      finding: `Sessions last ${ms(shortest)}, so whoever reads a page is logged out by its end.`,
      cure: "A number counts milliseconds, and not seconds as elsewhere: write lifetime: { idle: '30m' }.",
    })
  }
  if (idle === false && absolute === false) {
    findings.push({
      id: 'lifetime.endless',
      severity: 'warning',
      finding: 'Sessions have neither an idle nor an absolute timeout, so a stolen one is never over.',
      cure: "Set lifetime to a preset ('aal1', 'aal2', 'aal3'), or to { idle, absolute }.",
    })
  }
  return findings
}

function checkReuse({ onReuse }: Settings): Finding[] {
  if (onReuse === 'end') return []
  const who = onReuse === 'event' ? 'both of them go' : 'whoever has the newer one goes'
  return [
    {
      id: 'reuse.goes-on',
      severity: 'warning',
      finding: `When two parties hold the tokens of one login, ${who} on using it, and one of them is a thief.`,
      cure: "Remove onReuse, whose default 'end' ends such a session for both, or end it yourself where the event reuse is heard.",
    },
  ]
}

function checkComparing({ name, compareAndSet }: Store): Finding[] {
  if (compareAndSet) return []
  return [
    {
      id: 'store.no-compare-and-set',
      severity: 'warning',
      finding: `The ${name} store cannot compare and set: of two parallel requests to one session, one loses its changes.`,
      cure: 'Keep sessions in memory, files, SQL or Redis where that matters.',
    },
  ]
}

async function askStore({ clock }: Settings, store: Store): Promise<readonly Finding[]> {
  try {
    return (await store.check?.(clock)) ?? []
  } catch (error) {
    return [
      {
        id: 'store.unreachable',
        severity: 'error',
        finding: `The ${store.name} store could not be checked: ${(error as Error).message}`,
        cure: 'See whether the server is up, and may be reached from here with these credentials.',
      },
    ]
  }
}
