import type { IncomingMessage } from 'node:http'
import type { Core } from '../core.ts'
import { OptionsError } from '../errors.ts'
import { checkTypes, refuseUnknown } from '../given.ts'
import { partsOf } from '../parts.ts'
import type { Sessions } from '../sessions.ts'

/** A web `Request`, or Node's. */
export type DashboardRequest = Request | IncomingMessage

/** What `createSessions` made, of whatever data. */
export type AnySessions = Pick<Sessions, 'name' | 'revoke' | 'revokeAll'>

/** Whose sessions the dashboard shows, and to whom. */
export interface DashboardOptions {
  /** Whose sessions it shows. Several: the page lets you choose. Their names must differ. */
  sessions: AnySessions | readonly AnySessions[]
  /**
   * Whether this request may see the dashboard, and end sessions with it: asked before each answer, also of scripts and styles. Anything but `true`, and
   * whatever it throws, is a 403 with nothing in it; so `requireRecentLogin('15m')` of the session may be part of it. `sessions.of(request)` has the session where the dashboard is mounted behind an adapter.
   */
  authorize: (request: DashboardRequest) => boolean | Promise<boolean>
  /** Whether who is authorised may also read the data of sessions and the messages kept for visitors. Default: nobody. */
  revealData?: (request: DashboardRequest) => boolean | Promise<boolean>
  /** Where it lives, as the browser sees it: also below a router that is mounted elsewhere. Default: `/sessions`. */
  path?: string
}

/** One of the managers. */
export interface Shown {
  readonly sessions: AnySessions
  readonly core: Core
}

export interface DashboardSettings {
  readonly shown: readonly [Shown, ...Shown[]]
  readonly authorize: DashboardOptions['authorize']
  readonly revealData: NonNullable<DashboardOptions['revealData']> | undefined
  /** Without a slash at the end. */
  readonly path: string
}

const WHERE = 'dashboard: '

export function resolveDashboard(options: DashboardOptions): DashboardSettings {
  refuseUnknown(WHERE, options, ['sessions', 'authorize', 'revealData', 'path'])
  const { sessions, authorize, revealData, path = '/sessions' } = options
  if (typeof authorize !== 'function') {
    throw new OptionsError(
      'dashboard: authorize: must be a function that says who may see it: it shows whoever is logged in, and logs everybody out',
    )
  }
  checkTypes(WHERE, options, { revealData: 'function', path: 'string' })
  if (!/^(\/[A-Za-z0-9._~-]+)*\/?$/.test(path) || !path.startsWith('/')) {
    throw new OptionsError(
      `dashboard: path: ${JSON.stringify(path)} is no path of letters, digits and - . _ ~, such as "/admin/sessions"`,
    )
  }
  return {
    shown: resolveShown(sessions),
    authorize,
    revealData,
    path: path.replace(/\/$/, ''),
  }
}

function resolveShown(given: DashboardOptions['sessions']): DashboardSettings['shown'] {
  const [first, ...others] = [given].flat().map((sessions): Shown => {
    const parts = typeof sessions === 'object' && sessions !== null ? partsOf(sessions) : undefined
    if (parts === undefined)
      throw new OptionsError(
        'dashboard: sessions: must be what createSessions() of this copy of Holdfast made, or a list of such',
      )
    return { sessions, core: parts.core }
  })
  if (first === undefined) throw new OptionsError('dashboard: sessions: the list is empty')
  const names = [first, ...others].map(({ sessions }) => sessions.name)
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined)
    throw new OptionsError(
      `dashboard: sessions: two of them are called '${twice}'; give one of them another name`,
    )
  return [first, ...others]
}
