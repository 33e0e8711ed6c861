import type { Token } from '../tokens.ts'
import type { History, Request } from './history.ts'

/** What happened, line by line, in the order of time: what one reads when the judge has found something. */
export function trace(history: History, about?: Request): string {
  const start = history.requests[0]?.sentAt ?? 0
  const lines: { at: number; text: string }[] = []
  const line = (at: number, text: string) => {
    if (at < Number.POSITIVE_INFINITY) lines.push({ at, text })
  }
  for (const request of history.requests) {
    const { number, deed, view, answer, given, fate } = request
    const name = `${request === about ? '>> ' : ''}${request.from === 'thief' ? 'THIEF ' : ''}#${number} ${deed.kind}`
    const extra = [
      'user' in deed && deed.user,
      'item' in deed && deed.item,
      'fails' in deed && deed.fails && 'fails',
    ].filter(Boolean)
    line(request.sentAt, `${name} ${extra.join(' ')} sent with ${show(request.token)}`)
    line(
      request.openedAt,
      `${name} opened: ${view?.session ?? 'no session'}, ${view?.user ?? 'nobody'} [${view?.items}]`,
    )
    line(
      request.answeredAt,
      `${name} answered ${answer?.status}${given ? `, gives ${show(given)}` : (answer?.cookie ?? '')}${fate === 'arrived' ? '' : ` (${fate})`}`,
    )
    line(request.arrivedAt, `${name} arrived`)
  }
  for (const { at, by, token } of history.jar)
    if (by === 'kill') line(at, `browser killed, comes back with ${show(token)}`)
  for (const [session, { at, why, by }] of history.ends) line(at, `${session} ended: ${why} by #${by.number}`)
  for (const { at, session, left } of history.losses) line(at, `store fell behind: ${session} has [${left}]`)
  if (history.theft) line(history.theft.at, `THEFT of ${show(history.theft.token)}`)
  line(history.calmAt, 'calm')
  return lines
    .sort((one, other) => one.at - other.at)
    .map(({ at, text }) => `${((at - start) / 1000).toFixed(3).padStart(12)} ${text}`)
    .join('\n')
}

function show(token: Token | undefined): string {
  return token ? `${token.session.slice(0, 6)}.${token.generation}` : 'no cookie'
}
