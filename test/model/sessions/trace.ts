import type { Token } from '../tokens.ts'
import type { History, Request } from './history.ts'

/** What happened, line by line, in the order of time: what one reads when the judge has found something. */
export function trace(history: History, about?: Request): string {
  const start = Math.min(...history.weather.map(({ at }) => at))
  const lines: { at: number; text: string }[] = []
  const line = (at: number, text: string) => {
    if (Number.isFinite(at)) lines.push({ at, text })
  }
  for (const request of history.requests) {
    const { number, browser, deed, view, failures, status, given, saved } = request
    const name = `${request === about ? '>> ' : ''}#${number} ${deed.kind}`
    const { kind: _, ...how } = deed
    const details = Object.entries(how).map(([key, value]) => ` ${key}=${value}`)
    line(request.sentAt, `${name}${details} sent by browser ${browser} with ${show(request.token)}`)
    line(request.headersAt, `${name} at the server`)
    line(
      request.openedAt,
      `${name} opened: ${view?.session?.slice(0, 6) ?? 'no session'}, ${view?.user ?? 'nobody'} [${view?.list}] ${view?.flashes}`,
    )
    line(request.actedAt, `${name} acts`)
    if (saved) line(saved.at, `${name} saved in ${saved.session.slice(0, 6)}`)
    for (const { name: error, maybeApplied, error: cause } of failures)
      line(
        request.overAt,
        `${name} ${error}${maybeApplied ? ' (maybe applied)' : ''}: ${(cause as Error).message}`,
      )
    line(
      request.overAt,
      `${name} ${status === undefined ? 'killed' : `answered ${status}${given ? `, gives ${given === 'clear' ? given : show(given)}` : ''}`}`,
    )
    line(request.arrivedAt, `${name} arrived`)
  }
  for (const { kind, session, user, begunAt, doneAt, failure } of history.administration) {
    line(begunAt, `${kind} ${kind === 'revoke' ? session?.slice(0, 6) : user} begun`)
    line(doneAt, `${kind} done`)
    if (failure) line(begunAt, `${kind} will fail: ${(failure.error as Error).message}`)
  }
  for (const { at, weather } of history.weather) line(at, `WEATHER ${weather}`)
  for (const at of history.kills) line(at, 'KILL')
  for (const [session, at] of history.created) line(at, `created ${session.slice(0, 6)}`)
  line(history.calmAt, 'CALM')
  return lines
    .sort((one, other) => one.at - other.at)
    .map(({ at, text }) => `${((at - start) / 1000).toFixed(3).padStart(12)} ${text}`)
    .join('\n')
}

function show(token: Token | undefined): string {
  return token ? `${token.session.slice(0, 6)}.${token.generation}` : 'no cookie'
}
