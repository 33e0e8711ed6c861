/** Types `c.var.session`, and whatever else `Register` names, for Hono: `import 'holdfast/hono/types'`. */
import type {} from 'hono'
import type { RegisteredSessions } from '../../register.ts'

declare module 'hono' {
  interface ContextVariableMap extends RegisteredSessions {}
}
