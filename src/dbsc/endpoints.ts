import { QUIET_TIME } from '../admission.ts'
import type { Committer } from '../commit.ts'
import type { Core } from '../core.ts'
import { StoreUnavailableError } from '../errors.ts'
import type { Opener } from '../open.ts'
import type { SessionRecord } from '../record.ts'
import type { HttpRequest } from '../request.ts'
import { routeOf, viewOf } from '../request.ts'
import type { Visit } from '../visit.ts'
import { addOperation, handleOf } from '../visit.ts'
import * as answers from './answers.ts'
import type { Binding } from './binding.ts'
import { formatBinding, newBinding, parseBinding, use } from './binding.ts'
import type { BoundCookies } from './bound-cookie.ts'
import { CHALLENGE_LIFE, makeChallenge, readChallenge } from './challenge.ts'
import { checkOrigin } from './origin.ts'
import { ProofError, readRefresh, readRegistration } from './proof.ts'
import type { DeviceBindingSettings } from './settings.ts'
import { attributesText } from './settings.ts'
import type { Tagger } from './tags.ts'

export interface EndpointParts {
  readonly core: Core
  /** Of sessions whose bound cookie has expired as well: it is what these requests are there to renew. See `createDoorkeeper`. */
  readonly opener: Opener
  readonly committer: Committer
  readonly settings: DeviceBindingSettings
  readonly cookies: BoundCookies
  readonly registerTag: Tagger
  readonly refreshTag: Tagger
}

/** What browsers ask by themselves: to bind a session to a key of theirs, and to renew the bound cookie by a proof that they have it. */
export interface Endpoints {
  register(source: HttpRequest): Promise<Response>
  refresh(source: HttpRequest): Promise<Response>
}

/** Bad proofs in a row after which the session ends: it is not its device that makes them. */
const MOST_FAILURES = 3

export function createEndpoints(parts: EndpointParts): Endpoints {
  const { core, opener, committer, settings, cookies, registerTag, refreshTag } = parts
  const { events, vault } = core
  const { clock, lifetime } = core.settings

  async function register(source: HttpRequest): Promise<Response> {
    let visit: Visit | undefined
    try {
      const { key, challenge } = readRegistration(proofIn(source) ?? none())
      const opened = await opener.open(source)
      visit = opened
      if (visit.outage) return answers.tryLater()
      const now = clock()
      const { userSince } = checkRegistration(visit, challenge, now)
      checkOrigin(source, settings.origins)

      const binding = newBinding(key, now)
      const text = formatBinding(binding)
      const bind = (record: SessionRecord) => (isFree(record, userSince) ? text : record.bound)
      await change(opened, bind).catch((error) => makeSure(opened, error))
      if (visit.record.bound !== text) throw new ProofError('another registration came first')
      events.emit('bound', { handle: handleOf(visit), userId: visit.record.user })
      return answers.registered(
        cookies.give(visit, binding, now),
        nextChallenge(visit, binding),
        binding.id,
        instructions,
      )
    } catch (error) {
      if (!(error instanceof ProofError)) throw error
      tellRefused(source, visit, error)
      return answers.refused()
    }
  }

  /** The record, if the session may be bound now, by this challenge. @throws ProofError */
  function checkRegistration(visit: Visit, text: string, now: number): SessionRecord {
    const { record, standing } = visit
    if (standing !== 'live' || record.authenticatedAt === undefined)
      throw new ProofError('it comes with no session of a user')
    const challenge = readChallenge(registerTag, text, registrationContext(visit), now)
    if (challenge === undefined) throw new ProofError('its challenge is not of this login')
    if (!challenge.isLive || now >= record.authenticatedAt + CHALLENGE_LIFE)
      throw new ProofError('its challenge has expired')
    if (!isFree(record, record.userSince)) throw new ProofError('the session is bound already')
    return record
  }

  const instructions = {
    refresh_url: settings.refreshPath,
    scope: {
      include_site: false,
      scope_specification: settings.exclude.map((path) => ({ type: 'exclude', domain: '*', path })),
    },
    credentials: [
      { type: 'cookie', name: settings.cookie.name, attributes: attributesText(settings.cookie) },
    ],
  }

  async function refresh(source: HttpRequest): Promise<Response> {
    const id = unquoted(viewOf(source).header('sec-secure-session-id'))
    const visit = await opener.open(source)
    if (visit.outage) return answers.tryLater()
    const binding = bindingOf(visit.kept?.record)
    if (binding === undefined || binding.id !== id) return answers.over(id)
    // A step-up has just retired its token, and a newer one is on its way to the client; or rotation has replaced it, and the device has that one.
    if (visit.standing !== 'live') return answers.tryLater()

    const proof = proofIn(source)
    if (proof === undefined) return answers.prove(nextChallenge(visit, binding), binding.id)
    try {
      const { challenge } = readRefresh(proof, binding.key)
      return await renew(visit, binding, challenge)
    } catch (error) {
      if (!(error instanceof ProofError)) throw error
      tellRefused(source, visit, error)
      return countFailure(visit, binding)
    }
  }

  async function renew(visit: Visit, binding: Binding, text: string): Promise<Response> {
    const now = clock()
    const challenge = readChallenge(refreshTag, text, [handleOf(visit), binding.id], now)
    let isUsed = true
    if (challenge?.isLive) {
      await changeBinding(visit, binding, (current) => {
        const next = use(current, challenge, now)
        isUsed = next === undefined
        return next ?? current
      })
    }
    // The key is right: a browser whose last answer was lost signs the next challenge.
    if (isUsed) return answers.prove(nextChallenge(visit, binding), binding.id)
    return answers.refreshed(cookies.give(visit, binding, now), nextChallenge(visit, binding), binding.id)
  }

  async function countFailure(visit: Visit, binding: Binding): Promise<Response> {
    let failures = 0
    await changeBinding(visit, binding, (current) => {
      failures = current.failures + 1
      return { ...current, failures }
    })
    if (failures < MOST_FAILURES) return answers.prove(nextChallenge(visit, binding), binding.id)
    const handle = handleOf(visit)
    if (await vault.destroy(handle, clock() + QUIET_TIME)) events.emit('revoked', { count: 1, handle })
    return answers.over(binding.id)
  }

  /** Nothing is changed if the session has come to another device meanwhile. */
  function changeBinding(visit: Visit, { id }: Binding, make: (current: Binding) => Binding): Promise<void> {
    return change(visit, ({ bound }) => {
      const current = bound === undefined ? undefined : parseBinding(bound)
      if (current?.id !== id) return bound
      const next = make(current)
      return next === current ? bound : formatBinding(next)
    })
  }

  /** By the record's compare-and-set: `make` runs again on what others have committed meanwhile, and what it gave last is what counts. */
  async function change(visit: Visit, make: (record: SessionRecord) => string | undefined): Promise<void> {
    addOperation(visit, { kind: 'bind', change: make }, clock(), lifetime)
    await committer.commit(visit)
  }

  /** Whether the write that got no answer was done: a session that is bound, to a browser that is told it is not, would be nobody's from then on. */
  async function makeSure(visit: Visit, error: unknown): Promise<void> {
    if (!(error instanceof StoreUnavailableError && error.maybeApplied)) throw error
    await committer.commit(visit)
  }

  function nextChallenge(visit: Visit, { id }: Binding): string {
    return makeChallenge(refreshTag, [handleOf(visit), id], clock())
  }

  function tellRefused(source: HttpRequest, visit: Visit | undefined, { message }: ProofError): void {
    const whose =
      visit?.standing === 'live' ? { handle: handleOf(visit), userId: visit.record.user } : undefined
    events.emit('refusedProof', { ...whose, route: routeOf(source), reason: message })
  }

  return { register, refresh }
}

/** What makes a challenge one of this login, and of no other. */
export function registrationContext(visit: Visit): string[] {
  return [handleOf(visit), String(visit.record.userSince)]
}

export function bindingOf(record: SessionRecord | undefined): Binding | undefined {
  return record?.bound === undefined ? undefined : parseBinding(record.bound)
}

/** Nothing has been bound since the login of that generation. */
function isFree({ bound, userSince }: SessionRecord, since: number): boolean {
  return bound === undefined && userSince === since
}

function proofIn(source: HttpRequest): string | undefined {
  return unquoted(viewOf(source).header('secure-session-response'))
}

function none(): never {
  throw new ProofError('there is none')
}

/** Chromium sends values as they are, and the specification says strings in quotes (RFC 9651). */
function unquoted(value: string | undefined): string | undefined {
  return value !== undefined && value.length > 1 && value.startsWith('"') && value.endsWith('"')
    ? value.slice(1, -1)
    : value
}
