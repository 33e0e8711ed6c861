import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Sessions } from '../sessions.ts'
import type { AdapterOptions } from './adapter-options.ts'
import { checkMounting, taken } from './adapter-options.ts'
import { mount, openOnNode } from './node.ts'

export type { AdapterOptions }

/** What `koaSessions` can be told. */
export type KoaSessionsOptions = AdapterOptions<KoaContextLike>

/**
 * Sessions for Koa 3: `ctx.session`. Saved before the first byte of the response; a failed save goes through `ctx.onerror`, as what
 * a middleware throws does.
 *
 * @example
 * ```ts
 * import Koa from 'koa'
 * import { createSessions } from 'holdfast'
 * import { koaSessions } from 'holdfast/koa'
 *
 * const sessions = createSessions<{ visits?: number }>()
 * const app = new Koa()
 * app.use(koaSessions(sessions))
 * app.use((ctx) => {
 *   const { data } = sessions.of(ctx)
 *   data.visits = (data.visits ?? 0) + 1
 *   ctx.body = `Total visits: ${data.visits}`
 * })
 * ```
 */
export function koaSessions<Data extends object>(sessions: Sessions<Data>, options: KoaSessionsOptions = {}) {
  checkMounting('koaSessions', sessions, options, ['property', 'skip'])
  const { property = 'session', skip, lazy = false } = options
  return async (ctx: KoaContextLike, next: () => Promise<void>): Promise<void> => {
    if (skip?.(ctx)) return next()
    if (Object.hasOwn(ctx, property)) {
      const there = ctx[property as keyof KoaContextLike] as unknown
      if ((await sessions.open(ctx.req, { lazy })) !== there) throw taken('koaSessions', property)
      return next()
    }
    const fail = (error: unknown) => ctx.onerror(error as Error)
    const session = await openOnNode(sessions, ctx.req, ctx.res, { lazy, fail })
    mount(ctx, property, session)
    await next()
  }
}

/** What is used of a Koa context. */
export interface KoaContextLike {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  onerror(error: Error): void
}
