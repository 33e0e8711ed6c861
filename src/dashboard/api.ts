import { HoldfastError, InvalidRecordError, StoreUnavailableError } from '../errors.ts'
import type { SessionInfo } from '../management.ts'
import { infoOf, isLive } from '../management.ts'
import type { HttpRequest } from '../request.ts'
import { header } from '../request.ts'
import { crossOrigin } from '../security/csrf.ts'
import { NEVER, UnsupportedError } from '../store.ts'
import { forJson } from '../user-sessions.ts'
import type { Kept, KeptPage } from '../vault.ts'
import * as answers from './answers.ts'
import type { Census } from './census.ts'
import { createCensus } from './census.ts'
import type { DashboardRequest, Shown } from './options.ts'
import type { Watch } from './watch.ts'
import { watch } from './watch.ts'
import type { Overview, Revoked, SessionData, SessionDetail, SessionList, SessionRow } from './wire.ts'

/**
 * What every request for data carries its parameters in, as a query would: user ids are personal, and URLs end up in logs. No page of another origin
 * can send it without a preflight, to which nobody here agrees; so it is the guard against forgery, and against being read as a script, too.
 */
const HEADER = 'holdfast-dashboard'

/** What asks to end everyone's must say, so that no slip of a program does. */
const EVERYONE = 'everyone'

const PAGE = 100
/** A store may give pages with nothing of ours on them. After so many the client asks for more itself. */
const MOST_PAGES = 10
const LONGEST_PARAMETERS = 8_000

interface Asked {
  readonly subject: Subject
  readonly parameters: URLSearchParams
  readonly mayReveal: () => Promise<boolean>
}

interface Subject extends Shown {
  readonly watch: Watch
  readonly census: Census
}

/** Said to the client as it is. */
class Refusal extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

export function createApi(shown: readonly Shown[]) {
  const subjects = shown.map((one): Subject => {
    const seen = watch(one.core)
    return { ...one, watch: seen, census: createCensus(one.core, ({ sessions }) => seen.counted(sessions)) }
  })

  const endpoints: Record<string, (asked: Asked) => Promise<unknown>> = {
    'GET overview': (asked) => overview(asked, subjects),
    'GET sessions': list,
    'GET session': show,
    'GET data': reveal,
    'POST revoke': revoke,
  }

  return {
    async answer(
      name: string,
      request: DashboardRequest,
      mayReveal: () => Promise<boolean>,
    ): Promise<Response> {
      const accepted = header(request, 'accept-encoding') ?? ''
      const fail = (status: number, message: string) => answers.json(status, { error: message }, accepted)
      const endpoint = endpoints[`${request.method} ${name}`]
      if (!endpoint) return fail(404, 'There is nothing at this address.')
      const sent = header(request, HEADER)
      if (sent === undefined || isForged(request))
        return fail(403, 'Refused: this did not come from the page of the dashboard.')
      const parameters = new URLSearchParams(sent.slice(0, LONGEST_PARAMETERS))
      const subject = subjects[Number(parameters.get('manager') ?? 0)]
      if (!subject) return fail(404, 'There are no such sessions.')
      try {
        return answers.json(200, await endpoint({ subject, parameters, mayReveal }), accepted)
      } catch (error) {
        if (error instanceof Refusal) return fail(error.status, error.message)
        if (error instanceof UnsupportedError) return fail(501, `Not possible: ${error.message}.`)
        if (error instanceof StoreUnavailableError)
          return fail(503, `The store does not answer: ${error.message}.`)
        if (error instanceof InvalidRecordError) return fail(422, `Unreadable: ${error.message}`)
        throw error
      }
    },
    close() {
      for (const { watch, census } of subjects) {
        watch.stop()
        census.stop()
      }
    },
  }
}

/**
 * A browser says where that comes from, unless it is an old one, or speaks plain http with another host; then Origin must be ours. A browser leaves
 * it out where its own page reads. Whoever says nothing at all has no business with what changes something.
 */
function isForged(request: DashboardRequest): boolean {
  const site = header(request, 'sec-fetch-site')
  if (site !== undefined) return site !== 'same-origin'
  if (header(request, 'origin') === undefined) return request.method !== 'GET'
  // Reading counts as well: whatever answers preflights for the whole site may have agreed to this one.
  const { headers, url } = request
  const asChange = { headers, url, method: 'POST' } as HttpRequest
  return crossOrigin(asChange, { trustedOrigins: new Set(), strict: true }, '') !== undefined
}

async function overview(
  { subject, parameters, mayReveal }: Asked,
  subjects: readonly Subject[],
): Promise<Overview> {
  const { core, sessions, watch, census } = subject
  const { store, clock } = core.settings
  for (const one of subjects) if (one.core.settings.store.scan) one.census.begin()
  const problem = census.problem
  return {
    now: clock(),
    since: watch.since,
    managers: subjects.map(({ sessions, core, census }) => ({
      name: sessions.name,
      store: core.settings.store.name,
      sessions: census.latest?.sessions ?? null,
    })),
    name: sessions.name,
    store: store.name,
    canList: store.scan !== undefined,
    canFindUsers: store.users !== undefined,
    isCarried: store.carry !== undefined,
    mayReveal: await mayReveal(),
    outageSince: watch.outageSince ?? null,
    curves: watch.curves(parameters.get('range') === 'day' ? 'day' : 'hour'),
    count: census.latest ?? null,
    progress: census.progress ?? null,
    problem: problem === undefined ? null : problem instanceof HoldfastError ? problem.message : 'It failed.',
    notices: watch.notices,
  }
}

async function list({ subject, parameters }: Asked): Promise<SessionList> {
  const { vault, work, settings } = subject.core
  const user = parameters.get('user')
  const rows: SessionRow[] = []
  let cursor = parameters.get('cursor') ?? undefined
  let unreadable = 0
  for (let pages = 0; pages < MOST_PAGES; pages++) {
    const limit = PAGE - rows.length
    const page: KeptPage = await work.run(() =>
      user === null
        ? vault.scan(cursor, limit)
        : vault.list('users', user, cursor === undefined ? { limit } : { cursor, limit }),
    )
    unreadable += page.unreadable.length
    for (const { handle, kept } of page.items)
      if (isLive(kept, settings)) rows.push(rowOf(infoOf(handle, kept, settings)))
    cursor = page.cursor
    if (cursor === undefined || rows.length >= PAGE) break
  }
  return { sessions: rows, cursor: cursor ?? null, unreadable }
}

async function show(asked: Asked): Promise<SessionDetail> {
  const { handle, kept } = await find(asked)
  const { record } = kept
  return {
    ...rowOf(infoOf(handle, kept, asked.subject.core.settings)),
    rotatedAt: new Date(record.rotatedAt).toISOString(),
    retiredBelow: record.retiredBelow,
    externalId: record.externalId ?? null,
    isBound: record.bound !== undefined,
    messages: record.flashes.length,
  }
}

async function reveal(asked: Asked): Promise<SessionData> {
  if (!(await asked.mayReveal())) throw new Refusal(403, 'You may not read the data of sessions.')
  const { kept } = await find(asked)
  const { codec } = asked.subject.core.settings
  return {
    data: forJson(codec.decode(kept.data)),
    messages: kept.record.flashes.map(({ category, message }) => ({ category, message })),
  }
}

async function revoke({ subject, parameters }: Asked): Promise<Revoked> {
  const { sessions } = subject
  const [handle, userId, everyone] = ['handle', 'user', 'all'].map((name) => parameters.get(name))
  if (handle) return { count: await sessions.revoke({ handle }) }
  if (userId) return { count: await sessions.revoke({ userId }) }
  if (everyone === EVERYONE) return { count: await sessions.revokeAll() }
  throw new Refusal(400, 'Whose? Name a handle or a user, or say everyone.')
}

async function find({ subject, parameters }: Asked): Promise<{ handle: string; kept: Kept }> {
  const handle = parameters.get('handle') ?? ''
  const { vault, work, settings } = subject.core
  const kept = handle === '' ? undefined : await work.run(() => vault.load(handle, { fresh: true }))
  if (kept === undefined || kept === 'destroyed' || !isLive(kept, settings))
    throw new Refusal(404, 'There is no live session with this handle.')
  return { handle, kept }
}

function rowOf({ createdAt, lastSeenAt, expiresAt, authenticatedAt, ...info }: SessionInfo): SessionRow {
  return {
    ...info,
    userId: info.userId ?? null,
    level: info.level ?? null,
    createdAt: createdAt.toISOString(),
    lastSeenAt: lastSeenAt.toISOString(),
    expiresAt: expiresAt.getTime() >= NEVER ? null : expiresAt.toISOString(),
    authenticatedAt: authenticatedAt?.toISOString() ?? null,
  }
}
