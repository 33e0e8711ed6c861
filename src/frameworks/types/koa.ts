/** Types `ctx.session`, and whatever else `Register` names, for Koa: `import 'holdfast/koa/types'`. */
import type {} from 'koa'
import type { RegisteredSessions } from '../../register.ts'

declare module 'koa' {
  interface ExtendableContext extends RegisteredSessions {}
}
